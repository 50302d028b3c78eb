"""Stages whose workers are Ray's, on a Ray of their own: the same bytes, also after a kill."""

import subprocess
import sys

import psutil
import pytest

from pipelines.dvc import repair
from tests.agents import write_agent
from tests.episodes import LATENT, write_episodes
from tests.projects import ALONE, DVC, change_parameters, environment, make_project, run, status
from tests.stages import run_here, stay_as_it_is
from tests.waiting import wait_for

ON_RAY = {
    "WORLD_MODELS_EXECUTOR": "ray",
    # A busy machine takes its time.
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_worker_register_timeout_seconds": "300",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """One whose data set has shards enough to be killed among them."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, ["pendulum"])
    change_parameters(tmp_path, "smoke.pendulum.collect", {"episodes": 16, "shard_episodes": 1})
    return tmp_path


@pytest.fixture
def run_locally(project, monkeypatch):
    """Give a function that runs a stage in this process; Ray does all that is run after it."""

    def run(stage):
        change_parameters(project, "machine", ALONE["machine"])
        with monkeypatch.context() as patch:
            stay_as_it_is(patch)
            assert run_here(stage, "pendulum") == 0
        change_parameters(project, "machine", {"workers": 2})
        for name, value in ON_RAY.items():
            monkeypatch.setenv(name, value)

    return run


def made(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def kill_in_mid_stage(project):
    """Kills a stage that has made a shard; nobody who worked for it is left."""
    dvc = psutil.Popen(
        [*DVC, "repro", "collect@pendulum"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = project / ".state" / "collect@pendulum"
    try:
        wait_for(lambda: dvc.poll() is not None or any(state.glob("*[0-9]*/*/shard-*")), 600)
        family = dvc.children(recursive=True)
        (stage,) = (one for one in family if "pipelines.collect" in one.cmdline())
        stage.kill()
    except BaseException:
        dvc.kill()
        raise
    assert dvc.wait() != 0
    _, alive = psutil.wait_procs(family, 120)
    assert not alive


def test_a_stage_whose_driver_is_killed_goes_on_and_makes_the_same(project, run_locally):
    run_locally("collect")
    shards = project / "data" / "pendulum" / "episodes"
    local = made(shards)
    kill_in_mid_stage(project)
    repair.main()
    said = run(project, *DVC, "repro", "collect@pendulum").stderr
    assert "collect: going on after" in said
    assert made(shards) == local
    assert status(project, "collect@pendulum") == {}


def test_evolution_comes_to_the_same_c(project, run_locally):
    write_episodes(project, "latents")
    write_agent(project / "models" / "pendulum", sizes=(LATENT, 8, 2)).controller.unlink()
    run_locally("controller")
    controller = project / "models" / "pendulum" / "controller.safetensors"
    local = controller.read_bytes()
    controller.unlink()
    run(project, sys.executable, "-m", "pipelines.controller", "pendulum")
    assert controller.read_bytes() == local
