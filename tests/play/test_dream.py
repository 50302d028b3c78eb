"""The dream in the browser is the dream of world_models.worlds.dream, from the same noise."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.play.conftest import GPU_FLAGS, TASKS
from world_models.agent import Agent
from world_models.rnn.mixture import heat
from world_models.rnn.model import State
from world_models.worlds.dream import DreamWorld

STEPS = 200
EVERY = 20
"""Steps between two pictures that are compared."""
DREAM = """
const [backend, name, temperature, seed, steps, every, done] = arguments;
(async () => {
  const { openRuntime } = await import("./runtime.js");
  const { loadAgent, Dream, act } = await import("./dream.js");
  const agent = await loadAgent(await openRuntime(backend), `agents/${name}`);
  const [controller] = agent.controllers;
  const dream = new Dream(agent, controller.ends);
  dream.reset(seed);
  const trace = [{ latent: [...dream.latent] }];
  while (trace.length <= steps && !dream.finished) {
    const { chosen, reward } = await dream.step(act(controller, dream), temperature);
    const drawn = dream.steps % every ? null : [...(await agent.draw(dream.latent)).data];
    trace.push({ latent: [...dream.latent], chosen, reward, drawn, finished: dream.finished });
  }
  return trace;
})().then(done, (error) => done(String(error.stack)));
"""


def chosen(world: DreamWorld, action: torch.Tensor) -> np.ndarray:
    """Which Gaussian the world is about to draw each number of z from; nothing is drawn by this."""
    now, drawn = world._now, world.noise.drawn.clone()
    before = State(now.hidden, now.cell)
    after = world.rnn.step(now.latent, world.task.to_model(action), now.steps == 0, before)
    mixture = heat(world.rnn.predict(after.hidden).mixture, world.temperature)
    uniform = world.noise.uniform(torch.tensor([0]), now.latent.shape[1])
    world.noise.drawn.copy_(drawn)
    past = uniform.unsqueeze(-2) > mixture.logits.softmax(-2).cumsum(-2)[..., :-1, :]
    return past.sum(-2)[0].numpy()


def dreamed_the_same(browser, address, backend, name, files, temperature, steps=STEPS):
    """Dreams in the browser, and holds each step and some pictures against Python's."""
    browser.get(address)
    trace = browser.execute_async_script(DREAM, backend, name, temperature, 7, steps, EVERY)
    assert isinstance(trace, list), trace
    agent = Agent.from_pretrained(files.vae.parent, device="cpu")
    world = agent.dream(1, temperature)
    world.begin([7])
    draws = same = 0
    for before, after in pairwise(trace):
        np.testing.assert_allclose(before["latent"], world._now.latent[0], atol=1e-3)
        action = agent.controller.act(world.features())
        equal = chosen(world, action) == after["chosen"]
        reward = world.advance(action)
        draws, same = draws + equal.size, same + equal.sum()
        if not equal.all():
            break  # from here on it is another dream
        assert after["reward"] == pytest.approx(reward.item(), abs=1e-3)
        assert after["finished"] == bool(world.finished)
        if after["drawn"]:
            pixels = np.array(after["drawn"]).reshape(64, 64, 4)[..., :3]
            assert np.abs(pixels - world.render()[0].astype(int)).max() <= 2
    assert same >= 0.999 * draws
    assert len(trace) > steps / 2


@pytest.mark.parametrize("temperature", [0.1, 1.0, 1.15])
@pytest.mark.parametrize("name", [*TASKS, "large"])
def test_browser_and_python_dream_the_same(browser, address, agents, large, name, temperature):
    files = (agents | {"large": large})[name]
    dreamed_the_same(browser, address, "wasm", name, files, temperature)


def test_a_gpu_dreams_the_same(open_browser, address, agents):
    """An imitated one: it is slower than none, so these are fewer steps of a small agent."""
    browser, files = open_browser(flags=GPU_FLAGS), agents["takecover"]
    dreamed_the_same(browser, address, "webgpu", "takecover", files, 1.15, steps=2 * EVERY)
