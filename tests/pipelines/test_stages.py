"""Stages as a user runs them, with input that is wrong: one line that names it, nothing left."""

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from mlflow import MlflowClient

from pipelines import stage
from pipelines.controller import keep
from pipelines.fidelity import compare, long_ones
from tests import stages
from tests.episodes import write_episodes
from tests.projects import ROOT, choose, run
from tests.users import give_away, needs_root
from tests.waiting import wait_for
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.controller.search import Generation, Validation
from world_models.data.store import shard_path
from world_models.rnn.checkpoint import load_rnn, load_rnns, save_rnn, save_rnns
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.runtime.errors import DivergedError
from world_models.vae.checkpoint import save_vae
from world_models.vae.model import VAE, VAESizes
from world_models.vae.starts import save_starts
from world_models.worlds.rollout import Played


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    """One MLflow store for the module: making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


@pytest.fixture
def project(tmp_path, monkeypatch, tracking):
    """An empty project at scale smoke, where commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    set_parameters(tmp_path, scale="smoke")
    return tmp_path


def set_parameters(project, **changes):
    """Writes params.yaml with changes, `smoke.pendulum.vae.batches` as smoke__pendulum__..."""
    shutil.copy(ROOT / "params.yaml", project)
    choose(project / "params.yaml", ["pendulum"])
    contents = yaml.safe_load((project / "params.yaml").read_text())
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        place = contents
        for key in path:
            place = place[key]
        place[last] = value
    (project / "params.yaml").write_text(yaml.safe_dump(contents))


def command(name, *arguments):
    return [sys.executable, "-m", f"pipelines.{name}", *arguments]


def refused(name, *arguments):
    """The one line on stderr that a stage ends with, as a user starts it."""
    done = subprocess.run(command(name, *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"{name}: ")
    return done.stderr


@pytest.fixture
def run_here(project, monkeypatch):
    """Give a function that runs a stage in this process, without MLflow: how it exits."""
    stages.stay_as_it_is(monkeypatch)
    return stages.run_here


@pytest.fixture
def refused_here(run_here):
    """Give a function that returns the one line that a stage exits with, which Python prints."""

    def run(name, *arguments, work=None):
        line = run_here(name, *arguments, work=work)
        assert isinstance(line, str)
        assert line.startswith(f"{name}: ")
        assert "\n" not in line
        return line

    return run


def made(project):
    """What a stage left behind, parameters and its own state aside."""
    return sorted(
        str(path.relative_to(project))
        for path in project.rglob("*")
        if path.is_file() and ".state" not in path.parts and path.name != "params.yaml"
    )


def test_an_unknown_task_is_named(project):
    line = refused("collect", "pong")
    assert "pong" in line
    assert "pendulum" in line
    assert made(project) == []


def test_an_unknown_parameter_is_named(project, refused_here):
    set_parameters(project, scale="smoke", smoke__pendulum__collect__episode=3)
    assert "params.yaml: smoke.pendulum.collect.episode: " in refused_here("collect", "pendulum")
    assert made(project) == []


def test_a_missing_shard_is_named(project, refused_here):
    write_episodes(project)
    gone = shard_path(Path("data/pendulum/episodes"), 0)
    gone.unlink()
    line = refused_here("encode", "pendulum")
    assert f"{gone}: missing; `dvc repro collect@pendulum` makes it" in line
    assert made(project) == [str(shard_path(Path("data/pendulum/episodes"), 1))]


def test_ctrl_c_leaves_nothing_of_a_data_set_but_what_was_there_before_it(project):
    set_parameters(
        project,
        scale="smoke",
        smoke__pendulum__collect__episodes=400,
        smoke__pendulum__collect__shard_episodes=1,
    )
    write_episodes(project)
    before = made(project)
    with subprocess.Popen(
        command("collect", "pendulum"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            wait_for(lambda: list(project.glob(".state/collect@pendulum/by-hand/episodes/shard-*")))
            os.killpg(process.pid, signal.SIGINT)
            output, errors = process.communicate(timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert output == ""
    assert made(project) == before
    assert [path.name for path in (project / "data" / "pendulum").iterdir()] == ["episodes"]


def test_a_parameter_that_does_not_go_with_the_task_is_named(project, refused_here):
    set_parameters(
        project,
        scale="smoke",
        smoke__pendulum__collect__simulator="envpool",
        machine__workers=1,
    )
    assert "task 'pendulum' has no EnvPool version" in refused_here("collect", "pendulum")
    set_parameters(project, scale="smoke", smoke__pendulum__collect__shortest=200)
    assert "collect.shortest: 200; no episode" in refused_here("collect", "pendulum")
    assert made(project) == []


def test_a_checkpoint_made_with_other_sizes_is_named(project, refused_here):
    write_episodes(project, "latents")
    save_vae(Path("models/pendulum/vae.safetensors"), VAE(VAESizes(16)))
    sizes = MDNRNNSizes(32, 1, 8, 2, False, reward_head=True, done_head=False)
    save_rnn(Path("models/pendulum/rnn.safetensors"), MDNRNN(sizes))
    line = refused_here("controller", "pendulum")
    assert "models/pendulum/rnn.safetensors: made for latents of 32, not 16" in line


def test_latents_of_another_v_are_named(project, refused_here):
    write_episodes(project, "latents")
    save_vae(Path("models/pendulum/vae.safetensors"), VAE(VAESizes(32)))
    line = refused_here("rnn", "pendulum")
    assert "data/pendulum/latents: holds latents of 16, V makes them of 32" in line
    assert "dvc repro --force --single-item encode@pendulum" in line


def test_dreamers_are_trained_beside_m_which_stays_as_it_is(project, run_here):
    write_episodes(project, "latents")
    save_vae(Path("models/pendulum/vae.safetensors"), VAE(VAESizes(16)))
    models = []
    for count in (0, 2):
        set_parameters(project, scale="smoke", smoke__pendulum__rnn__dreamers=count)
        assert run_here("rnn", "pendulum") == 0
        models.append(load_rnn(Path("models/pendulum/rnn.safetensors"), 16, 1))
        dreamers = load_rnns(Path("models/pendulum/dreamers.safetensors"), 16, 1)
        assert len(dreamers) == count
        for one, other in combinations([*models, *dreamers], 2):
            equal = one in models and other in models
            assert torch.equal(one.heads.weight, other.heads.weight) == equal
    losses = json.loads(Path("reports/pendulum/rnn.json").read_text())
    assert losses["dreamer-1/validation/nll"] != losses["dreamer-2/validation/nll"]


def devices_in(file):
    with safetensors.safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()["model"]).get("devices")


def test_m_and_its_dreamer_are_trained_on_two_devices_as_one_stage(project, run_here, tracking):
    small = {
        "smoke__pendulum__rnn__dreamers": 1,
        "smoke__pendulum__rnn__hidden_size": 16,
        "smoke__all__rnn__batches": 4,
        "smoke__all__rnn__validate_every": 2,
    }
    report = Path("reports/pendulum/rnn.json")
    models = [Path("models/pendulum", f"{name}.safetensors") for name in ("rnn", "dreamers")]
    write_episodes(project, "latents")
    save_vae(Path("models/pendulum/vae.safetensors"), VAE(VAESizes(16)))
    set_parameters(project, scale="smoke", **small)
    assert run_here("rnn", "pendulum") == 0
    alone, files = json.loads(report.read_text()), made(project)
    assert [devices_in(file) for file in models] == [None, None]
    set_parameters(project, scale="smoke", machine__devices=2, **small)
    done = subprocess.run(command("rnn", "pendulum"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text()) == pytest.approx(alone, rel=1e-4, abs=1e-5)
    assert made(project) == files
    assert [devices_in(file) for file in models] == [2, 2]
    said = [line.split(",")[0] for line in done.stderr.splitlines()]
    assert all(re.fullmatch(r"(rnn|dreamer-1): \d/4 batches", line) for line in said)
    assert [line for line in said if "4/4" in line] == [
        "rnn: 4/4 batches",
        "dreamer-1: 4/4 batches",
    ]
    (run,) = MlflowClient(tracking).search_runs(["1"], "tags.stage = 'rnn' and tags.devices = '2'")
    assert run.data.metrics["validation/nll"] == pytest.approx(alone["validation/nll"], rel=1e-4)


def test_lanes_that_the_devices_can_not_share_are_named(project, refused_here):
    write_episodes(project, "latents")
    save_vae(Path("models/pendulum/vae.safetensors"), VAE(VAESizes(16)))
    set_parameters(project, scale="smoke", machine__devices=3)
    line = refused_here("rnn", "pendulum")
    assert line == "rnn: rnn.lanes: 4: 3 devices can't share them"


def test_a_search_in_the_dreams_of_others_wants_some(project, refused_here):
    others = {"smoke__pendulum__controller__dreamed_by": "others"}
    set_parameters(project, scale="smoke", **others)
    assert refused_here("collect", "pendulum") == (
        "collect: params.yaml: smoke.pendulum.controller.dreamed_by: others, and rnn.dreamers is 0"
    )
    set_parameters(project, scale="smoke", smoke__pendulum__rnn__dreamers=1, **others)
    write_episodes(project, "latents")
    save_vae(Path("models/pendulum/vae.safetensors"), VAE(VAESizes(16)))
    sizes = MDNRNNSizes(16, 1, 8, 2, False, reward_head=True, done_head=False)
    save_rnn(Path("models/pendulum/rnn.safetensors"), MDNRNN(sizes))
    save_rnns(Path("models/pendulum/dreamers.safetensors"), [])
    save_starts(Path("models/pendulum/starts.safetensors"), torch.zeros(1, 2, 16))
    line = refused_here("controller", "pendulum")
    assert line.startswith("controller: models/pendulum/dreamers.safetensors: holds no M; ")
    assert "rnn@pendulum" in line


def test_the_controller_that_is_best_in_the_real_world_is_kept(project, run_here):
    """Not the one that is best in the dream; and generations that were not tried don't count."""
    sizes = ControllerSizes(2, 1, bias=False, cell=False)

    def generation(number, real, dream):
        scores = (Played(np.array([[score]]), np.array([[1]])) for score in (real, dream))
        mean = Controllers(sizes, torch.full((1, 2), float(number)))
        tried = None if real is None else Validation(*scores)
        return Generation(number, np.array([99.0]), 0.1, 1, mean, tried)

    history = [generation(1, -5, 8), generation(2, -3, 2), generation(3, None, None)]
    assert run_here("controller", "pendulum", work=lambda own: keep(own, history)) == 0
    kept = safetensors.torch.load_file("models/pendulum/controller.safetensors")
    assert kept["parameters"].tolist() == [[2.0, 2.0]]
    told = json.loads(Path("reports/pendulum/controller.json").read_text())
    assert (told["kept_generation"], told["real_mean"], told["dream_mean"]) == (2, -3, 2)


def test_a_stage_keeps_what_it_frees_from_its_start(run_here, monkeypatch):
    done = []
    monkeypatch.setattr(stage, "keep_freed_memory", lambda: done.append("keeps"))
    assert run_here("vae", "pendulum", work=lambda _: done.append("works")) == 0
    assert done == ["keeps", "works"]


def test_the_dream_is_held_against_the_game(capsys):
    dream, game, other = (Played(np.full(2, t), np.full(2, t)) for t in (90, 100, 200))
    figures = compare("still", {"dream": dream}, game)
    assert figures["still_disagreement"] == pytest.approx(0.1)
    assert figures["still_dream_survival"] == 90
    assert figures["still_real_survival"] == 100
    assert capsys.readouterr().err == ""
    figures |= compare("still", {"dream": dream, "dreamer_1": other}, game)
    assert figures["still_disagreement"] == pytest.approx(0.1)
    assert figures["still_dreamer_1_disagreement"] == 1
    assert figures["still_dreamer_1_survival"] == 200
    said = capsys.readouterr().err
    assert said == "fidelity: the dreamer_1 is off by 100% for policy still\n"


def test_episodes_that_the_data_set_would_not_hold_do_not_count():
    played = Played(np.array([1.0, 2.0, 3.0]), np.array([100, 101, 300]))
    assert long_ones(played, 100).returns.tolist() == [2.0, 3.0]
    assert long_ones(played, 300).returns.tolist() == [1.0, 2.0, 3.0]


def test_a_full_disk_is_one_line(refused_here):
    def work(_context):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "models/vae.safetensors")

    line = refused_here("vae", "pendulum", work=work)
    assert "No space left on device" in line
    assert "models/vae.safetensors" in line


def test_a_process_of_the_training_that_has_died_is_one_line(refused_here):
    def work(_context):
        raise RuntimeError("[/x/gloo/transport/tcp/pair.cc:553] Connection closed by peer")

    line = refused_here("vae", "pendulum", work=work)
    assert line.startswith("vae: the training has lost one of its processes (out of memory?)")


def test_a_loss_that_is_no_number_is_one_line(refused_here):
    def work(_context):
        raise DivergedError("the loss became nan\nat batch 3")

    line = refused_here("vae", "pendulum", work=work)
    assert line == "vae: the loss became nan at batch 3"


def test_a_mistake_in_the_code_is_not_hidden(run_here):
    def work(_context):
        raise FileNotFoundError("nothing that a user did")

    with pytest.raises(FileNotFoundError):
        run_here("vae", "pendulum", work=work)


def test_a_task_that_an_experiments_copy_lacks_is_named(project, refused_here, monkeypatch):
    """DVC runs it in a copy, and tells the stage where the project is."""
    run(project, "git", "init", "--quiet")
    task = project / "src" / "world_models" / "tasks" / "lander.py"
    task.parent.mkdir(parents=True)
    task.touch()
    (copy := project / ".dvc" / "tmp" / "exps" / "copy").mkdir(parents=True)
    shutil.copy("params.yaml", copy)
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.chdir(copy)
    line = refused_here("collect", "lander")
    assert "no round 'lander'" in line
    assert line.endswith(": `git add src/world_models/tasks/lander.py`")
    run(project, "git", "add", "src")
    assert "git" not in refused_here("collect", "lander")


@needs_root
def test_a_repository_of_another_user_is_one_line(project, refused_here, monkeypatch):
    """Better now than with a run that doesn't say which commit it is of."""
    monkeypatch.setenv("HOME", str(project))
    run(project, "git", "init", "--quiet")
    give_away(project)
    line = refused_here("vae", "pendulum", work=lambda _context: None)
    assert line.startswith("vae: git: detected dubious ownership in repository at ")


def test_without_parameters_a_stage_says_where_to_run_it(project, refused_here):
    (project / "params.yaml").unlink()
    line = refused_here("vae", "pendulum")
    assert "params.yaml: missing; run this from the project's folder" in line
