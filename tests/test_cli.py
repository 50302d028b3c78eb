"""The command line, as a user types it."""

import errno
import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
import yaml

from tests.agents import write_agent
from tests.configs import PARAMS
from world_models import cli
from world_models.evaluation import protocol
from world_models.params import GENERAL, SECTIONS
from world_models.reference import reference
from world_models.tasks import task_names
from world_models.vae.checkpoint import save_vae
from world_models.vae.model import VAE, VAESizes

slashes = pytest.mark.skipif(os.name == "nt", reason="Windows writes paths in another way")


@pytest.fixture
def models(tmp_path):
    """An agent for Pendulum that knows nothing."""
    write_agent(tmp_path, still=True)
    return tmp_path


def test_a_full_disk_is_one_line(monkeypatch):
    def film(_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "film.mp4")

    monkeypatch.setattr(cli, "_video", film)
    with pytest.raises(SystemExit, match=r"^world-models: .* No space left on device: 'film.mp4'$"):
        cli.main(["video", "pendulum"])


def test_an_agent_is_scored_in_the_official_game(models, capsys):
    command = ["evaluate", "pendulum", "--models", str(models), "--episodes", "3"]
    cli.main([*command, "--lanes", "2", "--workers", "1"])
    scored = json.loads(capsys.readouterr().out)
    assert scored["episodes"] == 3
    low, high = scored["ci95"]
    assert low <= scored["mean"] <= high
    assert low > -3254  # 200 steps upside down and as fast as can be
    assert high < -500  # a rod that is left to itself hangs down
    cli.main([*command, "--lanes", "3", "--workers", "1"])
    again = json.loads(capsys.readouterr().out)
    assert again["mean"] == pytest.approx(scored["mean"], abs=0.01)


def test_the_interval_does_not_hang_on_which_worker_ends_first(models, capsys, monkeypatch):
    command = ["evaluate", "pendulum", "--models", str(models), "--episodes", "40"]
    scored = []
    for order in (iter, reversed):
        monkeypatch.setattr(protocol, "play_jobs", lambda jobs, _, o=order: in_turn(o(jobs)))
        cli.main([*command, "--lanes", "1"])
        scored.append(json.loads(capsys.readouterr().out))
    assert scored[0] == scored[1]


def in_turn(jobs):
    """What playing such jobs might give."""
    for job in jobs:
        yield job, np.array([float(seed**2 % 1009) for seed in job.seeds])


# imageio's, which reads the film: of an ffmpeg that has ended by itself it closes no pipes.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize(("more", "frames"), [([], 20), (["--gif"], 7)])
def test_an_agent_is_filmed_in_game_and_dream(models, tmp_path, more, frames, capsys):
    out = tmp_path / "film"
    command = ["video", "pendulum", "--models", str(models), "--steps", "20", *more]
    cli.main([*command, "--out", str(out.with_suffix(".gif" if more else ".mp4"))])
    written = Path(capsys.readouterr().out.strip())
    shown = imageio.mimread(written, memtest=False)
    assert len(shown) == frames
    height, width, _ = shown[0].shape
    assert width == pytest.approx(height * 196 / 64, rel=0.05)


def refused(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return caught.value.code


@slashes
@pytest.mark.parametrize(
    ("out", "more", "fault"),
    [
        ("films.gif", ["--gif"], "films.gif: is a folder: --out names a file"),
        ("..", [], "..: is a folder: --out names a file"),
        ("film", [], "film: this film's name ends with .mp4 (--gif: with .gif)"),
        ("lap.gif", [], "lap.gif: this film's name ends with .mp4 (--gif: with .gif)"),
        ("file/lap.mp4", [], "file: is a file, and no folder for lap.mp4"),
    ],
)
def test_a_film_takes_no_others_place(models, monkeypatch, out, more, fault):
    kept = models / "films.gif" / "kept"
    kept.mkdir(parents=True)
    (models / "file").touch()
    monkeypatch.chdir(models)
    assert refused("video", "pendulum", "--models", ".", "--out", out, *more) == (
        f"world-models: {fault}"
    )
    assert kept.exists()


def test_a_number_out_of_range_is_named(capsys):
    assert refused("play", "--port", "70000") == 2
    assert "70000 is not in 0 to 65535" in capsys.readouterr().err
    assert refused("video", "pendulum", "--seed", "-1") == 2
    assert "-1 is not in 0 to 2147483647" in capsys.readouterr().err


def test_what_a_user_can_mend_is_one_line(models, capsys):
    line = refused("evaluate", "pong", "--models", str(models))
    assert line.startswith("world-models: pong: no round 'pong'; there are: carracing, ")
    (models / "rnn.safetensors").unlink()
    line = refused("evaluate", "pendulum", "--models", str(models))
    assert line == f"world-models: {models / 'rnn.safetensors'}: missing"  # no stage makes it
    assert refused("evaluate", "pendulum", "--episodes", "1") == 2
    assert "1 is under 2" in capsys.readouterr().err


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A project in which nothing has been trained."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, tmp_path)
    return tmp_path


@slashes
@pytest.mark.parametrize("round_", ["carracing", "carracing-2"])
def test_a_fresh_clone_is_told_how_to_come_by_an_agent(clone, round_):
    made = f"`dvc repro evaluate@{round_}` makes and scores it"
    line = refused("evaluate", round_)
    assert line == f"world-models: models/{round_}/vae.safetensors: missing; {made}"
    save_vae(Path("models", round_, "vae.safetensors"), VAE(VAESizes(4)))
    line = refused("evaluate", round_)
    assert line == f"world-models: models/{round_}/rnn.safetensors: missing; {made}"


@slashes
def test_a_task_that_is_no_round_has_to_become_one_first(clone):
    line = refused("evaluate", "pendulum")
    assert line == (
        "world-models: models/pendulum/vae.safetensors: missing; with pendulum added to rounds in "
        "params.yaml, `dvc repro evaluate@pendulum` makes and scores it"
    )


@slashes
def test_a_damaged_part_of_an_agent_is_made_again_by_its_stage(clone):
    (clone / "models" / "carracing").mkdir(parents=True)
    (clone / "models" / "carracing" / "vae.safetensors").write_text("no safetensors")
    line = refused("evaluate", "carracing")
    assert line.startswith("world-models: models/carracing/vae.safetensors: damaged (")
    assert line.endswith("; `dvc repro --force --single-item vae@carracing` makes it again")


def shown(capsys, *arguments):
    """The rows of `world-models params` after its heading: value, origin and option by name."""
    cli.main(["params", *arguments])
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split("  ")[0] == "parameter"
    starts = [heading.index(word) for word in ("value", "from", "set it with")]
    bounds = [0, *starts, None]
    rows = [[line[a:b].strip() for a, b in pairwise(bounds)] for line in lines]
    return {name: rest for name, *rest in rows}


def test_the_parameters_in_force_are_shown_with_where_they_come_from(clone, capsys):
    rows = shown(capsys, "carracing")
    of_game = "small.carracing.vae"
    assert rows["vae.batches"] == ["5000", of_game, f"-S {of_game}.batches=…"]
    assert rows["vae.batch_size"] == ["32", "small.all.vae", f"-S +{of_game}.batch_size=…"]
    assert rows["vae.free_nats"] == ["0.5", "the default", f"-S +{of_game}.free_nats=…"]
    assert rows["dream.temperature"][:2] == ["0.7", "tasks/carracing.py"]
    assert rows["controller.hidden_units"][:2] == ["none", "the default"]
    assert rows["controller.centred"][:2] == ["true", "small.all.controller"]
    assert rows["scale"] == ["small", "params.yaml", "-S scale=…"]
    assert rows["machine.workers"] == ["2", "params.yaml", "-S machine.workers=…"]
    general = [f"{name}.{field}" for name in GENERAL for field in GENERAL[name].model_fields]
    assert list(rows) == ["scale", "seed", *general] + [
        f"{name}.{field}" for name in SECTIONS for field in SECTIONS[name].model_fields
    ]


def test_another_scale_is_shown_where_it_is_asked_for(clone, capsys):
    rows = shown(capsys, "takecover", "--scale", "full")
    key = "full.takecover.vae"
    assert rows["vae.batches"] == ["24000", key, f"-S {key}.batches=…"]
    assert shown(capsys, "takecover", "--scale", "paper")["vae.latent_size"] == [
        *("64", "tasks/takecover.py", "-S +paper.takecover.vae.latent_size=…")
    ]


def test_a_later_rounds_own_block_is_what_is_set(clone, capsys):
    contents = yaml.safe_load((clone / "params.yaml").read_text())
    later = {"task": "takecover", "after": "takecover", "settings": "takecover.later"}
    contents["rounds"]["takecover-game"] = later
    (clone / "params.yaml").write_text(yaml.safe_dump(contents))
    rows = shown(capsys, "takecover-game")
    key = "small.takecover.later"
    assert rows["dream.ends"] == ["drawn", f"{key}.dream", f"-S {key}.dream.ends=…"]
    assert rows["dream.temperature"][2] == f"-S +{key}.dream.temperature=…"


@pytest.mark.parametrize("scale", ["smoke", "small", "full", "paper"])
@pytest.mark.parametrize("task", task_names())
def test_a_plus_stands_before_a_key_that_is_not_in_the_file_and_before_no_other(
    clone, capsys, scale, task
):
    """DVC refuses `-S key` for a key that is not there."""
    contents = yaml.safe_load(PARAMS.read_text())
    for name, (_, _, option) in shown(capsys, task, "--scale", scale).items():
        key = option.removeprefix("-S ").removesuffix("=…")
        *path, last = key.removeprefix("+").split(".")
        if name.split(".")[0] in SECTIONS:
            assert (path, last) == ([scale, task, name.split(".")[0]], name.split(".")[1])
        place = contents
        for part in path:
            place = place[part]
        assert (last in place) == (not key.startswith("+")), key


def test_all_parameters_are_a_page_for_the_docs(capsys):
    cli.main(["params", "--reference"])
    assert capsys.readouterr().out == reference()


def test_what_params_can_not_show_is_one_line(clone):
    assert refused("params") == "world-models params: name a task, or a round in params.yaml"
    assert refused("params", "pong").startswith("world-models: pong: no round 'pong'; there are: ")
    line = refused("params", "carracing", "--scale", "tiny")
    assert line.startswith("world-models: params.yaml: scale: unknown scale 'tiny'; there are: ")
    assert line.endswith("there are: small, full, smoke, paper")
    (clone / "params.yaml").unlink()
    line = refused("params", "carracing")
    assert line == "world-models: params.yaml: missing; run this from the project's folder"


@slashes
def test_the_disk_is_looked_at_from_the_projects_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused("disk", "--clean")
    assert line == "world-models: pipelines/disk.py: missing; run this from the project's folder"


def test_it_starts_without_what_its_commands_need():
    heavy = ["torch", "numpy", "gymnasium", "mlflow", "pytorch_lightning", "zarr", "pydantic"]
    code = "import sys; sys.argv[0] = 'bin/world-models'; import world_models.cli; "
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
