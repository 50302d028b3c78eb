"""Dreams and games by name, as any user of Gymnasium makes them."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pygame
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from tests.agents import write_agent
from world_models.agent import Agent
from world_models.controller.checkpoint import save_controllers
from world_models.controller.policy import Controllers
from world_models.runtime.errors import CheckpointError, ConfigError, WorldModelsError

DREAM = "world_models:WorldModels/PendulumDream-v0"
LATENT = "world_models:WorldModels/PendulumLatent-v0"
quiet = pytest.mark.filterwarnings(
    "ignore:.*A Box observation space m..imum value is -?infinity",
    "ignore:.*Not able to test alternative render modes",
    "ignore:.*Casting input x to numpy array",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder of an agent for Pendulum, whose dreams end by chance."""
    folder = tmp_path_factory.mktemp("models") / "pendulum"
    write_agent(folder, dies=True)
    return str(folder)


@pytest.fixture
def takecover(tmp_path):
    """The same for TakeCover, which has three actions of its own."""
    write_agent(tmp_path, "takecover", dies=True)
    return str(tmp_path)


@pytest.mark.parametrize("first", ["gymnasium", "world_models"])
def test_every_task_is_known_by_name_whichever_is_imported_first(first):
    code = f"import {first}, gymnasium, world_models\n"
    for title in ("CarRacing", "TakeCover", "Pendulum"):
        for kind in ("Dream", "Latent"):
            code += f"gymnasium.spec('WorldModels/{title}{kind}-v0')\n"
    subprocess.run([sys.executable, "-c", code], check=True)


@quiet
@pytest.mark.parametrize("name", [DREAM, LATENT])
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_it_passes_gymnasiums_own_checks(models, name, render_mode, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")  # the checks open a window too
    with gymnasium.make(name, models=models, render_mode=render_mode) as env:
        check_env(env.unwrapped)


@quiet
def test_so_it_does_with_the_games_own_actions(takecover, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    name = "world_models:WorldModels/TakeCoverDream-v0"
    with gymnasium.make(name, models=takecover, actions="discrete") as env:
        assert env.action_space == Discrete(3)
        check_env(env.unwrapped)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_many_are_as_many_single_ones(models, mode):
    ours = gymnasium.make_vec(DREAM, num_envs=5, models=models, autoreset_mode=mode)
    more = {"vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": mode}}
    theirs = gymnasium.make_vec(DREAM, num_envs=5, models=models, **more)
    np.testing.assert_allclose(ours.reset(seed=7)[0], theirs.reset(seed=7)[0], atol=1e-5)
    assert type(ours.unwrapped) is not type(theirs.unwrapped)
    ends = np.zeros(5)
    for _ in range(300):
        actions = ours.action_space.sample()
        found, expected = ours.step(actions), theirs.step(actions)
        for one, other in zip(found[:4], expected[:4], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
        ends += found[2] | found[3]
    assert (ends > 2).all()


def test_choices_are_the_games_own(takecover):
    task = Agent.from_pretrained(takecover).task
    assert task.to_env(np.float32(task.choices)).tolist() == [0, 1, 2]
    name = "world_models:WorldModels/TakeCoverDream-v0"
    chosen = gymnasium.make_vec(name, num_envs=3, models=takecover, actions="discrete")
    assert chosen.action_space == MultiDiscrete([3, 3, 3])
    assert chosen.single_action_space == Discrete(3)
    plain = gymnasium.make_vec(name, num_envs=3, models=takecover)
    for env in (chosen, plain):
        env.reset(seed=1)
    numbers, actions = np.array([0, 1, 2]), np.float32([[0], [1], [-1]])
    for one, other in zip(chosen.step(numbers)[:4], plain.step(actions)[:4], strict=True):
        np.testing.assert_array_equal(one, other)
    single = gymnasium.make(name, models=takecover, actions="discrete")
    single.reset(seed=2)
    assert chosen.single_observation_space.contains(single.step(1)[0])


def test_a_choice_of_the_cars_is_that_of_gymnasiums_own_discrete_game(tmp_path):
    """Its driver has the same wheel, gas and brake after each."""
    pytest.importorskip("Box2D")
    write_agent(tmp_path, "carracing")
    task = Agent.from_pretrained(tmp_path).task
    discrete = gymnasium.make("CarRacing-v3", continuous=False).unwrapped
    continuous = gymnasium.make("CarRacing-v3").unwrapped
    for number, action in enumerate(task.to_env(np.float32(task.choices))):
        for env, act in ((discrete, number), (continuous, action)):
            env.reset(seed=3)
            for _ in range(3):
                env.step(act)
        for own, theirs in zip(continuous.car.wheels, discrete.car.wheels, strict=True):
            for part in ("steer", "gas", "brake"):
                assert getattr(own, part) == pytest.approx(getattr(theirs, part), abs=1e-6)


def test_a_dream_has_its_agents_temperature_unless_another_is_given(models):
    sizes = Agent.from_pretrained(models).controller.sizes
    world = gymnasium.make(DREAM, models=models).unwrapped.world
    assert (world.temperature, world.ends) == (sizes.temperature, sizes.ends) == (1.3, "drawn")
    assert gymnasium.make(DREAM, models=models, temperature=0.4).unwrapped.world.temperature == 0.4
    many = gymnasium.make_vec(DREAM, num_envs=2, models=models, temperature=0.4).unwrapped
    assert (many.temperature, many.ends) == (0.4, "drawn")


def test_the_game_through_v_and_m_is_what_the_agent_plays_in(models):
    with gymnasium.make(LATENT, models=models, render_mode="rgb_array") as env:
        assert env.observation_space == Box(-np.inf, np.inf, (12,), np.float32)
        first, _ = env.reset(seed=4)
        assert (first[4:] == 0).all()
        shown, reward, *_ = env.step(np.ones(1, np.float32))
        assert (shown[4:] != 0).all()
        assert reward < 0
        assert env.render().shape == (64, 64, 3)
        again, _ = env.reset(seed=4)
        np.testing.assert_array_equal(again, first)


def test_a_window_shows_the_dream(models, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with gymnasium.make(DREAM, models=models, render_mode="human") as env:
        env.reset(seed=1)
        env.step(np.zeros(1, np.float32))
        assert env.render() is None
        drawn = env.unwrapped.world.render()[0]
        window = env.unwrapped._window._screen
        assert window.get_at((20, 12))[:3] == tuple(drawn[12 // 8, 20 // 8])


@quiet
def test_a_window_opens_beside_a_game_that_is_drawn_without_one(models, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "offscreen")  # the games' own is another
    with (
        gymnasium.make(LATENT, models=models) as game,
        gymnasium.make(LATENT, models=models, render_mode="human") as env,
    ):
        for one in (game, env, game):
            one.reset(seed=1)
        env.step(np.zeros(1, np.float32))
        assert pygame.display.get_driver() == "offscreen"
        drawn = env.unwrapped.world.render()[0]
        window = env.unwrapped._window._screen
        assert window.get_at((20, 12))[:3] == tuple(drawn[12 // 8, 20 // 8])


HAS_A_SCREEN = sys.platform != "linux" or Path("/dev/dri").exists()


@pytest.mark.parametrize(
    "driver",
    [
        "nothing",
        pytest.param(
            None, marks=pytest.mark.skipif(HAS_A_SCREEN, reason="this machine has a screen")
        ),
    ],
)
def test_without_a_screen_there_is_one_line(models, monkeypatch, driver):
    for name in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if driver is not None:
        monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    for name in (DREAM, LATENT):
        with pytest.raises(WorldModelsError) as caught:
            gymnasium.make(name, models=models, render_mode="human")
        assert str(caught.value).startswith("no screen for a window (")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"temperature": 0}, "temperature: 0 is not over 0"),
        ({"temperature": float("inf")}, "temperature: inf is not over 0"),
        ({"actions": "discrete"}, "actions: discrete; pendulum has none"),
        ({"actions": "some"}, "actions: some; there are: continuous, discrete"),
    ],
)
@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
def test_what_it_can_not_be_is_one_line(models, make, arguments, said):
    with pytest.raises(ConfigError, match=f"^{said}"):
        make(DREAM, models=models, **arguments)


def test_many_have_no_window(models):
    with pytest.raises(ConfigError, match="render_mode: human; many lanes have rgb_array"):
        gymnasium.make_vec(DREAM, models=models, render_mode="human")


def test_another_tasks_agent_is_refused(takecover):
    with pytest.raises(CheckpointError, match="plays takecover, not pendulum"):
        gymnasium.make(DREAM, models=takecover)


def test_a_file_of_several_controllers_is_no_agents(takecover):
    one = Agent.from_pretrained(takecover).controller
    several = Controllers(one.sizes, one.parameters.repeat(2, 1))
    save_controllers(Path(takecover, "controller.safetensors"), several)
    with pytest.raises(CheckpointError, match="holds 2 C's, and an agent has one"):
        Agent.from_pretrained(takecover)


def test_no_agent_is_named_with_what_there_is():
    with pytest.raises(WorldModelsError, match="nobody: no agent: no folder"):
        gymnasium.make(DREAM, models="nobody")
