"""Making the data set: aligned transitions, and shards that depend on their seeds alone."""

import math
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.configs import changed, smoke
from tests.counting import (
    DOUBLED,
    TIME_LIMIT,
    Counting,
    CountingVAE,
    ends_by_itself,
    expected_length,
    read_frame,
    reward_of,
)
from tests.strange import PICTURE, strange
from world_models.agent import Agent, AgentFiles
from world_models.collecting.neighbours import Disturbance, Neighbourhood
from world_models.collecting.policies import Held, RandomNetwork, random_agent, random_policy
from world_models.collecting.recording import RecordedLanes
from world_models.collecting.shards import Origin, collect, shard_jobs
from world_models.controller.checkpoint import save_controllers
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.data.datasets import SequenceBatches, episode_sequence
from world_models.data.seeds import COLLECT
from world_models.data.store import EpisodeStore
from world_models.rnn.checkpoint import save_rnn
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.runtime.errors import ConfigError, StoreError
from world_models.runtime.processes import WorkerPool
from world_models.tasks import TASKS, get_task
from world_models.vae.checkpoint import save_vae
from world_models.vae.encoding import encode
from world_models.vae.model import VAE, VAESizes, sample_latent, to_images
from world_models.vae.starts import save_starts
from world_models.worlds.games import GymnasiumLanes
from world_models.worlds.noise import LaneNoise
from world_models.worlds.rollout import play

FIRST = Origin("counting")
"""A first round."""


def a_config(**changes):
    return changed(
        smoke("collect"),
        **{
            "policy": "held",
            "simulator": "gymnasium",
            "episodes": 7,
            "shard_episodes": 3,
            "shortest": 0,
            "longest_hold": [3, 3],
            **changes,
        },
    )


@pytest.fixture
def collected(counting, tmp_path):
    """Seven episodes of the counting game in three shards."""
    folder = tmp_path / "data" / "counting" / "episodes"
    lengths = list(collect(shard_jobs(folder, "counting", a_config(), 1, FIRST), workers=1))
    assert [len(shard) for shard in lengths] == [3, 3, 1]
    return EpisodeStore(folder)


def policy_actions(seed, count):
    policy = random_policy(get_task("counting"), a_config(), 1, seed)
    return [float(np.float32(policy.act(None)[0])) for _ in range(count)]


def test_frame_action_reward_and_next_frame_are_one_transition(collected):
    for at in collected.episodes():
        episode = collected.read(at)
        length = expected_length(at.seed)
        assert len(episode) == at.length == length
        actions = policy_actions(at.seed, length)
        assert episode.steps["actions"].ravel().tolist() == actions
        assert episode.steps["rewards"].tolist() == [reward_of(step) for step in range(length)]
        told = [read_frame(frame) for frame in episode.frames["frames"]]
        assert [step for step, _, _ in told] == list(range(length + 1))
        assert [seed for _, _, seed in told] == [at.seed] * (length + 1)
        # Frame t + 1 shows action t; nothing was done before the first frame.
        shown = [action for _, action, _ in told]
        assert shown == pytest.approx([-1, *actions], abs=0.006)


def test_an_end_is_the_games_and_a_time_limit_is_none(collected):
    ends = {at.seed: at.terminated for at in collected.episodes()}
    assert ends == {seed: ends_by_itself(seed) for seed in COLLECT[:7]}
    assert set(ends.values()) == {True, False}


@pytest.mark.parametrize(
    ("of_the_game", "said"),
    [({"shown": PICTURE / 255}, "a frame has to be"), ({"paid": math.nan}, "a reward has to be")],
)
def test_what_no_game_should_show_or_pay_is_not_stored(monkeypatch, tmp_path, of_the_game, said):
    monkeypatch.setitem(TASKS, "strange", strange(**of_the_game))
    jobs = shard_jobs(tmp_path / "episodes", "strange", a_config(), 1, Origin("strange"))
    with pytest.raises(ConfigError, match=said):
        list(collect(jobs, workers=1))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def latents(collected, tmp_path):
    """The same episodes through V."""
    folder = tmp_path / "data" / "counting" / "latents"
    counts = list(encode(collected, CountingVAE(), folder, 4, WorkerPool(1)))
    assert sum(counts) == sum(at.length + 1 for at in collected.episodes())
    return EpisodeStore(folder)


def test_latents_keep_their_places_beside_actions_and_rewards(collected, latents):
    for at, before in zip(latents.episodes(), collected.episodes(), strict=True):
        assert (at.seed, at.terminated, at.length) == (
            before.seed,
            before.terminated,
            before.length,
        )
        episode, frames = latents.read(at), collected.read(before)
        told = [read_frame(frame) for frame in frames.frames["frames"]]
        np.testing.assert_allclose(episode.frames["mu"], told, atol=1e-5)
        assert (episode.frames["logvar"] < -80).all()
        for name in ("actions", "rewards"):
            np.testing.assert_array_equal(episode.steps[name], frames.steps[name])


def test_an_episodes_sequence_leads_from_each_latent_to_the_next(latents):
    for at in latents.episodes():
        part = episode_sequence(latents.read(at))
        steps = list(range(at.length))
        assert part.mu[:, 0].tolist() == steps
        assert part.next_mu[:, 0].tolist() == [step + 1 for step in steps]
        np.testing.assert_allclose(part.next_mu[:, 1], part.action[:, 0], atol=0.006)
        assert part.reward.tolist() == [reward_of(step) for step in steps]
        last = [False] * (at.length - 1)
        assert part.done.tolist() == [*last, at.terminated]
        assert part.restart.tolist() == [True, *last]


def test_batches_of_sequences_are_episodes_end_to_end_in_every_lane(latents):
    episodes = latents.episodes()
    lengths = {at.seed: at.length for at in episodes}
    stream = iter(SequenceBatches(latents, episodes, lanes=2, steps=5, seed=3))
    pieces = [next(stream) for _ in range(2 * sum(lengths.values()) // 5 + 1)]
    assert all(piece.mu.shape == (5, 2, 3) for piece in pieces)
    for lane in range(2):
        rows = [
            (*map(int, piece.mu[t, lane, [0, 2]]), int(piece.next_mu[t, lane, 0]), *flags)
            for piece in pieces
            for t in range(5)
            for flags in [(bool(piece.done[t, lane]), bool(piece.restart[t, lane]))]
        ]
        assert rows[0][0] == 0
        for step, seed, following, done, restart in rows:
            assert following == step + 1
            assert restart == (step == 0)
            assert done == (following == lengths[seed] and ends_by_itself(seed))
        for (_, seed, following, *_), (step, next_seed, *_) in pairwise(rows):
            ended = following == lengths[seed]
            assert step == (0 if ended else following)
            assert ended or next_seed == seed
        # Each pass shows every episode once.
        order = [seed for step, seed, *_ in rows if step == 0]
        assert sorted(order[:7]) == sorted(lengths)
        assert sorted(order[7:14]) == sorted(lengths)


def test_episodes_that_are_too_short_are_played_again_with_another_seed(counting, tmp_path):
    config = a_config(episodes=4, shard_episodes=4, shortest=5)
    (lengths,) = collect(shard_jobs(tmp_path, "counting", config, 1, FIRST), workers=1)
    assert min(lengths) > 5
    seeds = [at.seed for at in EpisodeStore(tmp_path).episodes()]
    # Seeds 0 and 4 end after 4 steps and seed 1 after 5; seeds 8 and 5 run to the time limit.
    assert seeds == [8, 5, 2, 3]


def test_a_shortest_length_that_no_episode_reaches_is_refused(counting, tmp_path):
    with pytest.raises(ConfigError, match=r"collect\.shortest: 9; no episode has over 9 steps"):
        shard_jobs(tmp_path, "counting", a_config(shortest=TIME_LIMIT), 1, FIRST)


def test_rounds_that_have_left_too_few_seeds_are_named(counting, tmp_path):
    late = Origin("counting", first_seed=COLLECT.stop - 6)
    with pytest.raises(ConfigError, match=r"^collect\.episodes: 7; only 6 seeds are left$"):
        shard_jobs(tmp_path, "counting", a_config(), 1, late)


def test_a_shard_can_be_made_again_alone(collected):
    shard = collected.shards[1]
    before = shard.read_bytes()
    shard.unlink()
    job = shard_jobs(collected.folder, "counting", a_config(), 1, FIRST)[1]
    assert job.path == shard
    list(collect([job], workers=1))
    assert shard.read_bytes() == before


def test_another_seed_makes_other_episodes(counting, tmp_path):
    for seed in (1, 2):
        list(
            collect(
                shard_jobs(tmp_path / str(seed), "counting", a_config(), seed, FIRST), workers=1
            )
        )
    one, other = (EpisodeStore(tmp_path / str(seed)) for seed in (1, 2))
    assert one.shards[0].read_bytes() != other.shards[0].read_bytes()


def test_shards_do_not_depend_on_the_number_of_workers(tmp_path):
    config = a_config(episodes=4, shard_episodes=2)
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        list(collect(shard_jobs(folder, "pendulum", config, 1, FIRST), workers))
    for shard in EpisodeStore(tmp_path / "1").shards:
        assert shard.read_bytes() == (tmp_path / "2" / shard.name).read_bytes()


@pytest.mark.parametrize("kind", ["held", "brownian", "random-network"])
def test_a_policy_is_drawn_from_its_seeds_alone(kind):
    task, config = get_task("carracing"), a_config(policy=kind)
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)

    def actions(seed, episode):
        policy = random_policy(task, config, seed, episode)
        return np.stack([policy.act(frame) for _ in range(6)])

    first = actions(1, 5)
    assert first.shape == (6, 3)
    assert (np.abs(first) <= 1).all()
    np.testing.assert_array_equal(actions(1, 5), first)
    assert (actions(1, 6) != first).any()
    assert (actions(2, 5) != first).any()


def test_held_actions_last_one_to_as_many_steps_as_drawn():
    holds = []
    for episode in range(20):
        policy = Held(1, np.random.default_rng(episode), [4, 4])
        actions = np.stack([policy.act(np.zeros(0)) for _ in range(100)])[:, 0]
        changes = np.flatnonzero(np.diff(actions)) + 1
        holds += np.diff([0, *changes]).tolist()
    assert set(holds) == {1, 2, 3, 4}


def test_an_episodes_longest_hold_is_drawn_between_its_bounds():
    random = np.random.default_rng(0)
    longest = [Held(1, random, [10, 300]).longest for _ in range(1000)]
    assert min(longest) >= 10
    assert max(longest) <= 300
    # Uniform in the logarithm: half of them are under the geometric mean.
    assert np.median(longest) == pytest.approx((10 * 300) ** 0.5, rel=0.2)


def test_brownian_actions_drift_by_small_steps_within_their_bounds():
    policy = random_policy(get_task("carracing"), a_config(policy="brownian"), 1, 1)
    actions = np.stack([policy.act(np.zeros(0)) for _ in range(2000)])
    steps = np.diff(actions, axis=0)
    assert np.abs(actions).max() == 1
    assert steps.std() == pytest.approx(1 / 50**0.5, rel=0.1)


def test_random_networks_act_and_stay_finite():
    task, config = get_task("carracing"), a_config(policy="random-network")
    frames = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), np.uint8)
    for episode in range(8):
        policy = random_policy(task, config, 1, episode)
        actions = np.stack([policy.act(frame) for frame in frames])
        assert np.isfinite(actions).all()
        assert np.isfinite(policy.world.features().numpy()).all()
        assert np.abs(actions).max() > 0


def test_a_random_network_plays_what_it_is_shown_as_in_the_real_world(counting):
    policy = RandomNetwork(counting, np.random.default_rng(0))
    agent = random_agent(counting, np.random.default_rng(0))
    with closing(agent.real_world(GymnasiumLanes(counting, 1))) as world:
        world.begin([policy.seed])
        for _ in range(expected_length(policy.seed)):
            action = agent.controller.act(world.features())
            np.testing.assert_array_equal(policy.act(world.frames[0]), action[0].numpy())
            world.advance(action)
        assert world.finished.all()


def an_agent(sampled=False):
    """Random V, M and C of the counting game, doubled; C sees M's cell state."""
    torch.manual_seed(0)
    sizes = ControllerSizes(4 + 2 * 8, 1, bias=True, cell=True, sampled=sampled)
    rnn = MDNRNN(MDNRNNSizes(4, 1, 8, 2, True, True, True)).eval().requires_grad_(False)
    vae = VAE(VAESizes(4)).eval().requires_grad_(False)
    controller = Controllers(sizes, torch.randn(1, sizes.parameter_count))
    return Agent(DOUBLED, vae, rnn, controller, torch.zeros(1, 2, 4))


def episode_features(task, agent, episode):
    """What C saw at each step of an episode, from its frames and its actions alone."""
    mu, logvar = agent.vae.encode(to_images(torch.from_numpy(episode.frames["frames"])))
    noise, lane = LaneNoise(1), torch.tensor([0])
    noise.seed(lane, [episode.seed])
    state, seen = agent.rnn.initial_state(1), []
    for step, action in enumerate(torch.from_numpy(episode.steps["actions"])):
        latent = mu[step][None]
        if agent.controller.sizes.sampled:
            latent = sample_latent(latent, logvar[step][None], noise.normal(lane, 4))
        seen.append(torch.cat([latent, state.hidden, state.cell], 1))
        state = agent.rnn.step(latent, task.to_model(action)[None], torch.tensor([not step]), state)
    return torch.cat(seen)


@pytest.mark.parametrize("sampled", [True, False])
def test_m_is_told_what_is_played_where_an_agent_is_disturbed(sampled):
    """Three lanes, of which some end before the others, the longest now and then disturbed."""
    agent, task, seeds = an_agent(sampled), DOUBLED, [4, 5, 1]
    policy = Neighbourhood(
        agent.controller, a_config(policy="agent", as_is=1), 1, seeds, len(seeds)
    )
    policy.disturbances[1] = Disturbance(Always(0.5), 0.5, 2, np.random.default_rng(0))
    with closing(RecordedLanes(GymnasiumLanes(task, 3))) as lanes:
        played = play(agent.real_world(lanes), policy.act, seeds)
    disturbed = []
    for lane, record in enumerate(lanes.records):
        episode = record.episode("counting-2", "agent")
        length = expected_length(episode.seed)
        assert len(episode) == played.lengths[lane] == length
        assert episode.terminated == ends_by_itself(episode.seed)
        assert episode.steps["rewards"].tolist() == [reward_of(step) for step in range(length)]
        actions = episode.steps["actions"].ravel()
        shown = [read_frame(frame)[1] for frame in episode.frames["frames"]]
        assert shown == pytest.approx([-1, *actions], abs=0.006)
        chosen = agent.controller.act(episode_features(task, agent, episode)).numpy().ravel()
        disturbed.append(actions == 0.5)
        assert actions == pytest.approx(np.where(actions == 0.5, 0.5, chosen), abs=1e-5)
    assert [where.any() for where in disturbed] == [False, True, False]
    # Undisturbed steps follow disturbed ones: there the action tells what M was told.
    assert (disturbed[1][:-1] & ~disturbed[1][1:]).any()


@pytest.fixture
def agent_round(counting, tmp_path):
    """A function that returns a later round's jobs in a folder, with an agent that is on disk."""
    agent = an_agent(sampled=True)
    files = AgentFiles.of(tmp_path)
    save_vae(files.vae, agent.vae)
    save_starts(files.starts, agent.starts)
    save_rnn(files.rnn, agent.rnn)
    save_controllers(files.controller, agent.controller)

    def jobs(folder, seed=1, **changes):
        config = a_config(policy="agent", **{"episodes": 8, "shard_episodes": 4, **changes})
        return shard_jobs(tmp_path / folder, "counting", config, seed, Origin("2", agent=files))

    return jobs


@pytest.mark.parametrize("episodes", [8, 5], ids=["as long as others", "shorter"])
def test_an_agents_last_shard_depends_on_its_job_alone(agent_round, episodes):
    list(collect(agent_round("one", episodes=episodes), workers=1))
    list(collect([agent_round("other", episodes=episodes)[1]], workers=1))
    list(collect([agent_round("third", episodes=episodes, seed=2)[1]], workers=1))
    one, other, third = (agent_round(name)[1].path for name in ("one", "other", "third"))
    assert one.read_bytes() == other.read_bytes() != third.read_bytes()


def test_an_agent_plays_with_one_thread_whatever_the_process_has(agent_round, monkeypatch):
    step, threads, seen = Counting.step, torch.get_num_threads(), set()

    def noted(game, action):
        seen.add(torch.get_num_threads())
        return step(game, action)

    monkeypatch.setattr(Counting, "step", noted)
    try:
        torch.set_num_threads(3)
        list(collect([agent_round("data")[0]], workers=1))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert seen == {1}


def test_an_episode_says_whether_the_agent_or_a_neighbour_played_it(agent_round):
    list(collect(agent_round("data", as_is=0.5, spread=0.1), workers=1))
    store, agent = EpisodeStore(agent_round("data")[0].path.parent), an_agent(sampled=True)
    task, policies = get_task("counting"), set()
    for episode in map(store.read, store.episodes()):
        chosen = agent.controller.act(episode_features(task, agent, episode)).numpy()
        as_it_is = np.abs(episode.steps["actions"] - chosen).max() < 1e-5
        assert episode.policy == ("agent" if as_it_is else "neighbour")
        policies.add(episode.policy)
    assert policies == {"agent", "neighbour"}


@pytest.mark.parametrize("shortest", [4, 5])
def test_an_agents_episodes_that_are_too_short_are_played_again(agent_round, shortest):
    """One of a shard's episodes, or two: these have fewer lanes than there are."""
    made = collect(agent_round("data", shortest=shortest), workers=1)
    lengths = [length for shard in made for length in shard]
    assert min(lengths) > shortest
    seeds = [
        next(again for again in range(seed, 100, 8) if expected_length(again) > shortest)
        for seed in range(8)
    ]
    store = EpisodeStore(agent_round("data")[0].path.parent)
    assert [at.seed for at in store.episodes()] == seeds
    assert lengths == [expected_length(seed) for seed in seeds]


def test_some_episodes_are_the_agents_the_others_its_disturbed_neighbours():
    config = a_config(policy="agent", as_is=0.25, spread=0.1, random_share=0.5)
    controller = an_agent().controller
    cast = Neighbourhood(controller, config, 1, range(200), 200)
    own = [name == "agent" for name in cast.names]
    assert sum(own) == pytest.approx(50, abs=20)
    away = cast.controllers.parameters - controller.parameters
    assert (away[own] == 0).all()
    assert away[~torch.tensor(own)].std() == pytest.approx(0.1, rel=0.1)
    again = Neighbourhood(controller, config, 1, range(100, 101), 1).controllers.parameters
    torch.testing.assert_close(again[0], cast.controllers.parameters[100])
    features = torch.randn(200, 20, generator=torch.Generator().manual_seed(0))
    acted, alone = cast.act(features), cast.controllers.act(features)
    assert (acted[own] == alone[own]).all()
    disturbed = (acted != alone).any(1)
    assert disturbed.sum() / (200 - sum(own)) == pytest.approx(0.5, abs=0.12)


class Always:
    def __init__(self, action):
        self.action = action

    def next(self):
        return np.array([self.action])


def test_disturbances_come_in_spells_and_take_their_share():
    disturbance = Disturbance(Always(1), 0.3, 10, np.random.default_rng(0))
    actions = np.array([int(disturbance.over(torch.zeros(1))) for _ in range(20_000)])
    assert actions.mean() == pytest.approx(0.3, abs=0.03)
    assert (np.diff(actions) != 0).mean() < 0.12  # at the ends of spells alone: 2 x 0.3 x 0.7 / 5.5


def test_a_first_round_has_no_agent(counting, tmp_path):
    with pytest.raises(ConfigError, match="policy: agent: a first round has none"):
        shard_jobs(tmp_path, "counting", a_config(policy="agent"), 1, FIRST)


def test_a_round_goes_on_from_the_shards_and_seeds_before_it(counting, tmp_path):
    origin = Origin("counting-2", shards=3, first_seed=70)
    jobs = shard_jobs(tmp_path, "counting", a_config(), 1, origin)
    assert [job.path.name for job in jobs] == [f"shard-0000{n}.zarr.zip" for n in (3, 4, 5)]
    assert {job.total for job in jobs} == {6}
    assert [seed for job in jobs for seed in job.seeds] == list(range(70, 77))
    list(collect([jobs[0]], workers=1))
    first = Origin("counting")
    list(collect(shard_jobs(tmp_path, "counting", a_config(), 1, first), workers=1))
    with pytest.raises(StoreError, match=r"shard-00004\.zarr\.zip: missing"):
        EpisodeStore(tmp_path)
    list(collect(jobs[1:], workers=1))
    rounds = [at.round for at in EpisodeStore(tmp_path).episodes()]
    assert rounds == ["counting"] * 7 + ["counting-2"] * 7
