"""The final protocol: scores that don't depend on who plays."""

from dataclasses import replace

import numpy as np
import pytest

from tests.agents import write_agent
from world_models.data.seeds import TEST
from world_models.evaluation.protocol import agent_to_score, play_jobs, real_jobs
from world_models.rnn.checkpoint import save_rnn
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.runtime.errors import CheckpointError
from world_models.tasks import TASKS, get_task


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """The files of a pendulum agent with random weights."""
    return write_agent(tmp_path_factory.mktemp("models") / "pendulum")


def scores(agent, seeds, lanes, workers):
    """Returns by seed."""
    found = {}
    for job, returns in play_jobs(real_jobs("pendulum", seeds, lanes, agent), workers):
        found |= dict(zip(job.seeds, returns.tolist(), strict=True))
    return [found[seed] for seed in seeds]


def test_jobs_cover_every_seed_once():
    jobs = real_jobs("pendulum", TEST[:7], 3, None)
    assert [len(job.seeds) for job in jobs] == [3, 3, 1]
    assert [seed for job in jobs for seed in job.seeds] == list(TEST[:7])


@pytest.fixture
def short(monkeypatch):
    """A pendulum of 20 steps, in this process."""
    monkeypatch.setitem(TASKS, "pendulum", replace(get_task("pendulum"), time_limit=20))


def test_scores_depend_on_the_seeds_alone_not_on_the_lanes_beside_them(agent, short):
    for kind in (agent, None):
        alone = scores(kind, TEST[:4], lanes=1, workers=1)
        assert len(set(alone)) == 4
        np.testing.assert_allclose(scores(kind, TEST[:4], 4, 1), alone, rtol=1e-4)
        np.testing.assert_allclose(scores(kind, TEST[2:4], 4, 1), alone[2:], rtol=1e-4)


def test_scores_do_not_depend_on_the_number_of_workers(agent):
    assert scores(agent, TEST[:2], lanes=1, workers=2) == scores(agent, TEST[:2], 1, 1)


def test_the_agent_and_random_play_differ(agent, short):
    assert scores(agent, TEST[:1], 1, 1) != scores(None, TEST[:1], 1, 1)


def test_an_agent_whose_parts_do_not_fit_is_refused(agent, tmp_path):
    rnn = tmp_path / "pendulum" / "rnn.safetensors"
    save_rnn(rnn, MDNRNN(MDNRNNSizes(5, 1, 8, 2, False, reward_head=True, done_head=False)))
    with pytest.raises(CheckpointError, match="latents of 5, not 4"):
        agent_to_score(get_task("pendulum"), agent._replace(rnn=rnn))
    with pytest.raises(CheckpointError, match="missing"):
        agent_to_score(get_task("pendulum"), agent._replace(controller=tmp_path / "c.safetensors"))
