"""The harm is done, what is not survived is told, and what was tried is not tried again."""

import json
import sys

import pytest

from benchmarks.survival import bits
from benchmarks.survival.__main__ import main
from benchmarks.survival.mutants import names
from tests.episodes import write_episodes
from tests.projects import dvc
from world_models.runtime.journal import Journal

STAGES = """
stages:
  vae:
    cmd: mkdir -p models/x && seq 9999 > models/x/vae.safetensors
    outs: [models/x/vae.safetensors]
  encode:
    cmd: mkdir -p data/x && cp -r ../data/pendulum/latents data/x/latents
    outs: [data/x/latents]
  rnn:
    cmd: cat models/x/vae.safetensors data/x/latents/* > m
    deps: [models/x/vae.safetensors, data/x/latents]
    outs: [m]
"""


def ran(monkeypatch, folder, *arguments):
    """How it ends: 0 where all was survived."""
    monkeypatch.setattr(sys, "argv", ["survival", *arguments, "--folder", str(folder)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code)


def test_it_goes_on_where_it_was_stopped_and_tells_what_was_not_survived(
    monkeypatch, tmp_path, capsys
):
    assert ran(monkeypatch, tmp_path, "params", "--tries", "2") == 0
    (path,) = tmp_path.glob("*/params.json")
    first = json.loads(path.read_text())
    assert len(first) == 2
    before = {"said": "", "faults": ["it fell over"]}
    Journal(path.with_suffix(".jsonl")).append(before)
    assert ran(monkeypatch, tmp_path, "params", "--tries", "5") == 1
    results = json.loads(path.read_text())
    assert (results[:3], len(results)) == ([*first, before], 5)
    assert "params: 1 faults in 5 tries; " in capsys.readouterr().out


def test_a_part_that_there_is_not_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["survival", "luck", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit, match="survival: no part 'luck'; there are: kills, params, "):
        main()


@pytest.mark.parametrize(
    ("said", "key", "right"),
    [
        ("params.yaml: small.all.vae.batches: too few", "small.all.vae.batches", True),
        ("params.yaml: small.all.vae.batches: too few", "small.carracing.vae.batches", False),
        ("params.yaml: rounds.x.task: unknown", "rounds", True),
        ("params.yaml: small.all.controller: needs bias", "small.all.controller.bias", True),
        ("params.yaml: small.x.controller.dreamed_by: rnn.dreamers is 0", "small.x.vae", False),
        ("params.yaml: small.x.controller.dreamed_by: rnn.dreamers is 0", "x.rnn.dreamers", True),
    ],
)
def test_an_error_names_a_key_or_another(said, key, right):
    assert names(said, key) == right


def test_each_kind_of_file_is_damaged_and_made_whole_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    project = tmp_path / "pendulum"
    (project / ".dvc").mkdir(parents=True)
    (project / ".dvc" / "config").write_text("[core]\nno_scm = true\n")
    (project / "dvc.yaml").write_text(STAGES)
    write_episodes(tmp_path, "latents")
    dvc(project, "repro")
    (tmp_path / "pendulum.made").touch()
    with bits.begin(tmp_path) as attempt:
        results = [attempt(number) for number in range(6)]
    assert [result["kind"] for result in results] == ["cache", "checkpoint", "shard"] * 2
    assert all(result["said"] and not result["faults"] for result in results)
