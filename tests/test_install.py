"""What `pip install` brings is enough: the core alone, in an environment that holds no more."""

import json
import os
import subprocess
import tomllib
import zipfile

import pytest

from tests.agents import write_agent
from tests.installs import ROOT, build_wheel, make_environment
from world_models.runtime.errors import DISTRIBUTION

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
(CORE,) = (
    contract["source_modules"]
    for contract in PROJECT["tool"]["importlinter"]["contracts"]
    if contract["name"] == "The core does without extras"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The Python of an environment with the core alone."""
    return make_environment(tmp_path_factory.mktemp("core") / "env", wheel)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder of agents that know nothing, by the names of their tasks."""
    folder = tmp_path_factory.mktemp("models")
    for task in ("pendulum", "carracing", "takecover"):
        write_agent(folder / task, task)
    return folder


def run(*command, cwd="/", **variables):
    """What a command prints, and its errors; with no variables of a project."""
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = known | {"SDL_VIDEODRIVER": "dummy", "OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)


def in_python(python, code):
    done = run(python, "-c", code)
    assert not done.returncode, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    version = PROJECT["project"]["version"]
    assert wheel.name == f"{DISTRIBUTION.replace('-', '_')}-{version}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert "world_models/py.typed" in names
    packed = {name.split("/")[0] for name in names}
    assert packed == {"world_models", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}


def test_the_core_imports_nothing_that_it_does_not_bring(python):
    code = f"import importlib, json; [importlib.import_module(name) for name in {CORE}]; "
    code += "from importlib.util import find_spec; "
    code += "print(json.dumps([find_spec(n) is None for n in ('mlflow', 'zarr', 'vizdoom')]))"
    assert json.loads(in_python(python, code)) == [True] * 3


def test_the_core_dreams_and_plays(python, models):
    """A dream of each game; and of the games the one whose engine is there."""
    code = f"""
import gymnasium
for name in ("PendulumDream", "CarRacingDream", "TakeCoverDream", "PendulumLatent"):
    title = f"world_models:WorldModels/{{name}}-v0"
    task = name.removesuffix("Dream").removesuffix("Latent").lower()
    env = gymnasium.make(title, models=f"{models}/{{task}}", render_mode="rgb_array")
    env.reset(seed=1)
    env.step(env.action_space.sample())
    print(env.render().shape)
    env.close()
"""
    assert in_python(python, code).splitlines() == ["(64, 64, 3)"] * 4


def test_the_command_scores_and_films(python, models, tmp_path):
    command = python.with_name("world-models")
    assert "evaluate" in run(command, "--help").stdout
    agent = ("pendulum", "--models", models / "pendulum")
    scored = run(command, "evaluate", *agent, "--episodes", "2", "--lanes", "1")
    assert json.loads(scored.stdout)["episodes"] == 2, scored.stderr
    film = tmp_path / "film.mp4"
    filmed = run(command, "video", *agent, "--steps", "5", "--out", film)
    assert film.exists(), filmed.stderr


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("doom", "evaluate takecover --models {models}/takecover --workers 1"),
        ("box2d", "evaluate carracing --models {models}/carracing --workers 1"),
        ("pipeline", "evaluate pendulum --model champion"),
        ("hub", "push pendulum owner/name --models {models}/pendulum"),
        ("play", "play"),
    ],
)
def test_what_needs_an_extra_says_which(python, models, extra, arguments):
    command = python.with_name("world-models")
    done = run(
        command, *arguments.format(models=models).split(), MLFLOW_TRACKING_URI="http://localhost:1"
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(f" needs an extra: pip install '{DISTRIBUTION}[{extra}]'")


def test_the_tests_of_the_core_need_no_more_than_it(wheel, tmp_path):
    python = make_environment(tmp_path / "env", wheel, ["test"])
    command = (python, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider")
    collected = run(*command, "@tests/core.txt", cwd=ROOT)
    assert not collected.returncode, collected.stdout
