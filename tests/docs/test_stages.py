"""The page of stages is made of dvc.yaml as it is."""

import runpy

import yaml

from tests.projects import ROOT

PAGE = ROOT / "docs" / "reference" / "stages.md"


def test_the_page_is_up_to_date():
    """`make reference` writes it."""
    assert PAGE.read_text() == runpy.run_path(str(ROOT / "docs" / "stages.py"))["page"]()


def test_every_stage_has_its_section_and_no_variable_is_left():
    text = PAGE.read_text()
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]:
        assert f"\n## {stage}\n" in text
    assert "${" not in text
