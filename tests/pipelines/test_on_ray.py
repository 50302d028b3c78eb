"""Stages whose workers are Ray's, on a Ray of their own: the same bytes, also after a kill."""

import subprocess
import sys

import psutil
import pytest

from tests.agents import write_agent
from tests.episodes import LATENT, write_episodes
from tests.projects import change_parameters, dvc, environment, make_project, run
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
    make_project(tmp_path, ["pendulum"])
    change_parameters(tmp_path, "smoke.pendulum.collect", {"episodes": 40, "shard_episodes": 1})
    return tmp_path


def made(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def by_hand(project, stage):
    return run(project, sys.executable, "-m", f"pipelines.{stage}", "pendulum").stderr


def kill_in_mid_stage(project):
    """Kills a stage that has made a shard; nobody who worked for it is left."""
    dvc = psutil.Popen(
        [sys.executable, "-m", "dvc", "repro", "collect@pendulum"],
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


def test_a_stage_whose_driver_is_killed_goes_on_and_makes_the_same(project, monkeypatch):
    by_hand(project, "collect")
    shards = project / "data" / "pendulum" / "episodes"
    local = made(shards)
    for name, value in ON_RAY.items():
        monkeypatch.setenv(name, value)
    kill_in_mid_stage(project)
    run(project, sys.executable, "-m", "pipelines.dvc.repair")
    said = run(project, sys.executable, "-m", "dvc", "repro", "collect@pendulum").stderr
    assert "collect: going on after" in said
    assert made(shards) == local
    assert "collect@pendulum" not in dvc(project, "status", "collect@pendulum")


def test_evolution_comes_to_the_same_c(project, monkeypatch):
    write_episodes(project, "latents")
    write_agent(project / "models" / "pendulum", sizes=(LATENT, 8, 2)).controller.unlink()
    by_hand(project, "controller")
    controller = project / "models" / "pendulum" / "controller.safetensors"
    local = controller.read_bytes()
    controller.unlink()
    for name, value in ON_RAY.items():
        monkeypatch.setenv(name, value)
    by_hand(project, "controller")
    assert controller.read_bytes() == local
