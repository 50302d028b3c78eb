"""Other people's reinforcement learning in the dream."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import RecordEpisodeStatistics, TimeAwareObservation, TimeLimit

from tests.agents import write_agent
from tests.dreams import STEPS, rewarding_dream
from world_models.worlds.single import SingleWorld

stable_baselines3 = pytest.importorskip("stable_baselines3")
check_env = pytest.importorskip("stable_baselines3.common.env_checker").check_env


def test_gymnasiums_wrappers_go_round_a_dream_of_one():
    env = RecordEpisodeStatistics(
        TimeAwareObservation(TimeLimit(SingleWorld(rewarding_dream(1)), 7))
    )
    observation, _ = env.reset(seed=1)
    for _ in range(7):
        assert observation in env.observation_space
        observation, _, terminated, truncated, info = env.step(env.action_space.sample())
    assert (terminated, truncated, info["episode"]["l"]) == (False, True, 7)


def test_stable_baselines_ppo_learns_in_the_dream():
    torch.manual_seed(0)
    envs = stable_baselines3.common.vec_env.DummyVecEnv(
        [lambda: SingleWorld(rewarding_dream(1)) for _ in range(4)]
    )
    ppo = stable_baselines3.PPO(
        "MlpPolicy",
        envs,
        n_steps=100,
        batch_size=100,
        learning_rate=3e-3,
        policy_kwargs={"net_arch": [8]},
        seed=0,
        device="cpu",
    )

    def returns():
        evaluate = stable_baselines3.common.evaluation.evaluate_policy
        return evaluate(ppo, envs, n_eval_episodes=8, deterministic=True, warn=False)[0]

    before = returns()
    ppo.learn(3000)
    after = returns()
    assert np.isfinite(after)
    assert after > before + 0.2 * STEPS


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "DQN"])
def test_stable_baselines_algorithms_take_a_dream_by_its_name(algorithm, tmp_path):
    """DQN by the game's own actions, which it needs; the others by C's."""
    write_agent(tmp_path, "takecover", dies=True)
    actions = "discrete" if algorithm == "DQN" else "continuous"
    env = gymnasium.make(
        "world_models:WorldModels/TakeCoverDream-v0", models=tmp_path, actions=actions
    )
    check_env(env)
    how = {"learning_starts": 50} if algorithm == "DQN" else {"n_steps": 64}
    model = getattr(stable_baselines3, algorithm)("MlpPolicy", env, seed=0, device="cpu", **how)
    model.learn(200)
    action, _ = model.predict(env.reset(seed=1)[0])
    assert env.action_space.contains(action if actions == "continuous" else int(action))
