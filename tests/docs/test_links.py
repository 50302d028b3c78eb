"""Links of the pages that are read on GitHub lead somewhere; those of the site Sphinx checks."""

from collections.abc import Iterator

import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.anchors import anchors_plugin

from tests.projects import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "results").glob("*.md")])
ELSEWHERE = ("https://", "../../actions/")


def tokens(page):
    """Every token of a page, also those inside a paragraph."""
    text = MarkdownIt().enable("table").use(anchors_plugin, max_level=3)
    for token in text.parse(page.read_text(encoding="utf-8")):
        yield from [token, *(token.children or ())]


def links(page) -> Iterator[str]:
    for token in tokens(page):
        target = token.attrGet("href") or token.attrGet("src")
        if target and not str(target).startswith(ELSEWHERE):
            yield str(target)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_link_leads_to_a_file_and_a_heading(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in {token.attrGet("id") for token in tokens(target)}, link
