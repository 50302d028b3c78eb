"""The dream: M by itself, lane by lane, under Gymnasium's rules."""

import math
from copy import deepcopy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from tests.counting import COUNTING, DOUBLED, CountingVAE
from tests.worlds.tracing import actions_of, trace
from world_models.rnn.mixture import heat, sample
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.tasks import get_task
from world_models.vae.model import VAE, VAESizes, sample_latent, to_frames
from world_models.worlds.dream import NEGLIGIBLE, DreamWorld
from world_models.worlds.noise import LaneNoise
from world_models.worlds.single import SingleWorld

LATENT, HIDDEN = 3, 6
TIME_LIMIT = COUNTING.time_limit


def an_rnn(
    restart_input=True,
    reward_head=True,
    done_head=True,
    done_bias=None,
    done_weight=1.0,
    hidden=HIDDEN,
):
    """M with random weights; a `done_bias` makes its done logit that number always."""
    torch.manual_seed(0)
    heads = reward_head, done_head, done_weight
    sizes = MDNRNNSizes(LATENT, 1, hidden, 5, restart_input, *heads)
    rnn = MDNRNN(sizes).eval().requires_grad_(False)
    rnn.heads.weight *= 3
    if done_bias is not None:
        rnn.heads.weight[-1] = 0
        rnn.heads.bias[-1] = done_bias
    return rnn


def starts(count=7):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 2, LATENT, generator=generator)


def a_dream(count=4, rnn=None, temperature=1.15, cell=False, task=DOUBLED, dreamer=None, **more):
    """A dream by the agent's M, unless there is another `dreamer`."""
    rnn = an_rnn(done_bias=-1.0) if rnn is None else rnn
    return DreamWorld(
        task,
        rnn,
        rnn if dreamer is None else dreamer,
        starts(),
        count,
        temperature,
        cell,
        **more,
    )


def test_networks_on_two_devices_are_refused():
    """Any other device will do in the place of a GPU."""
    others = {"dreamer": an_rnn(), "vae": VAE(VAESizes(LATENT))}
    for (argument, network), name in zip(others.items(), ("dreamer", "V"), strict=True):
        with pytest.raises(ValueError, match=rf"^{name} is on meta, M on cpu: "):
            a_dream(**{argument: network.to("meta")})


@pytest.mark.parametrize("cell", [True, False])
def test_a_dream_is_m_step_by_step_at_its_temperature(cell):
    rnn, temperature = an_rnn(done_bias=-1.0), 1.3
    features, rewards, *_ = trace(a_dream(1, rnn, temperature, cell), [5], TIME_LIMIT)

    noise, lane = LaneNoise(1), torch.tensor([0])
    noise.seed(lane, [5])
    mu, logvar = starts()[int(noise.uniform(lane, 1) * 7)][:, None]
    latent, state = sample_latent(mu, logvar, noise.normal(lane, LATENT)), rnn.initial_state(1)
    for step in range(TIME_LIMIT + 1):
        # C sees the latent that it acts on, and a state that has not seen it yet.
        seen = [latent, state.hidden, state.cell] if cell else [latent, state.hidden]
        np.testing.assert_allclose(features[step], torch.cat(seen, 1), atol=1e-6)
        if step == TIME_LIMIT:
            break
        action = 2 * torch.from_numpy(actions_of(5, step))[None]  # as the task's to_model says
        state = rnn.step(latent, action, torch.tensor([step == 0]), state)
        prediction = rnn.predict(state.hidden)
        assert rewards[step] == pytest.approx(prediction.reward.numpy(), abs=1e-6)
        mixture = heat(prediction.mixture, temperature)
        uniform, normal = noise.uniform(lane, LATENT), noise.normal(lane, LATENT)
        latent = sample(mixture, uniform, normal)


def test_a_hotter_dream_spreads_wider_as_the_closed_form_says():
    rnn = an_rnn(done_bias=-1.0)
    rnn.heads.weight.zero_()
    rnn.heads.bias.zero_()  # five equal components, N(0, 1)
    for temperature in (0.25, 1.0, 4.0):
        world = a_dream(3000, rnn, temperature)
        features, *_ = trace(world, range(3000), 1, act=lambda *_: np.zeros(1, np.float32))
        assert features[1, :, :LATENT].std() == pytest.approx(temperature**0.5, rel=0.04)


def test_dreams_begin_at_stored_first_frames_with_m_at_rest():
    world = a_dream(300)
    features, _ = world.reset(seed=0)
    assert (features[:, LATENT:] == 0).all()
    still = starts()
    still[:, 1] = -80  # sigma 0
    world.starts = still
    features, _ = world.reset(seed=0)
    found = {tuple(row) for row in features[:, :LATENT].round(4).tolist()}
    assert found == {tuple(row) for row in still[:, 0].numpy().round(4).tolist()}


@pytest.mark.parametrize("done_head", [True, False])
def test_without_a_reward_head_each_step_is_worth_one_the_last_included(done_head):
    rnn = an_rnn(reward_head=False, done_head=done_head)
    _, rewards, terminated, truncated = trace(a_dream(20, rnn), range(20), TIME_LIMIT)
    lengths = (terminated | truncated).argmax(axis=0) + 1
    assert (rewards.sum(axis=0) == lengths).all()
    assert terminated.any() == done_head


@pytest.mark.parametrize(("logit", "ends"), [(1e-3, True), (0.0, False), (-1e-3, False)])
def test_an_episode_ends_where_the_done_logit_is_over_zero(logit, ends):
    _, _, terminated, truncated = trace(a_dream(2, an_rnn(done_bias=logit)), [1, 2], 1)
    assert terminated.tolist() == [[ends, ends]]
    assert not truncated.any()


def test_the_time_limit_truncates():
    _, _, terminated, truncated = trace(a_dream(2), [1, 2], TIME_LIMIT)
    assert not terminated.any()
    assert truncated[:, 0].tolist() == [False] * (TIME_LIMIT - 1) + [True]


def test_an_episode_that_ends_on_its_last_step_is_terminated_not_truncated():
    world = a_dream(1, an_rnn(done_bias=-1.0))
    trace(world, [1], TIME_LIMIT - 1)
    world.rnn.heads.bias[-1] = 1.0
    _, _, terminated, truncated, _ = world.step(np.zeros((1, 1), np.float32))
    assert (terminated[0], truncated[0]) == (True, False)


def test_a_finished_lane_rests_at_no_cost_until_a_reset(monkeypatch):
    world = a_dream(20, an_rnn())
    stepped = []
    step = world.rnn.step

    def counted(latent, *rest):
        stepped.append(len(latent))
        return step(latent, *rest)

    monkeypatch.setattr(world.rnn, "step", counted)
    features, rewards, terminated, truncated = trace(world, range(20), TIME_LIMIT + 2)
    ends = (terminated | truncated).argmax(axis=0)
    assert len(set(ends)) > 2
    for lane, end in enumerate(ends):
        assert (features[end + 1 :, lane] == features[end + 1, lane]).all()
        assert (rewards[end + 1 :, lane] == 0).all()
        for flags in (terminated, truncated):
            assert not flags[:end, lane].any()
            assert (flags[end:, lane] == flags[end, lane]).all()
    assert sum(stepped) == (ends + 1).sum()
    world.reset(seed=1)
    assert not world.finished.any()


def test_a_lane_depends_on_its_seed_and_its_actions_alone():
    rnn = an_rnn()
    whole = trace(a_dream(6, rnn), [9, 4, 8, 4, 2, 1], TIME_LIMIT)
    alone = trace(a_dream(1, rnn), [4], TIME_LIMIT)

    def other_beside(seed, step):
        return actions_of(seed, step + (0 if seed == 4 else 50))

    beside_others = trace(a_dream(3, rnn), [4, 77, 78], TIME_LIMIT, other_beside)
    for part, single, beside in zip(whole, alone, beside_others, strict=True):
        np.testing.assert_allclose(part[:, 1], single[:, 0], atol=1e-5)
        np.testing.assert_allclose(part[:, 3], part[:, 1], atol=1e-5)
        np.testing.assert_allclose(beside[:, 0], single[:, 0], atol=1e-5)
    assert np.abs(whole[0][:, 0] - whole[0][:, 1]).max() > 0.1


def test_equal_seeds_give_equal_dreams_whatever_was_dreamt_before():
    world = a_dream(4, an_rnn())
    first = trace(world, [1, 2, 3, 4], 5)
    trace(world, [9, 9, 9, 9], 3)
    for one, other in zip(trace(world, [1, 2, 3, 4], 5), first, strict=True):
        np.testing.assert_array_equal(one, other)


def test_seeds_are_gymnasiums():
    world = a_dream(3)
    by_number, _ = world.reset(seed=5)
    following, _ = world.reset()
    by_list, _ = world.reset(seed=[5, 6, 7])
    np.testing.assert_array_equal(by_number, by_list)
    assert (following != by_number).any()
    world.reset(seed=5)
    np.testing.assert_array_equal(world.reset()[0], following)
    with pytest.raises(ValueError, match="2 seeds for 3 lanes"):
        world.reset(seed=[1, 2])


def test_a_step_before_the_first_reset_is_refused():
    with pytest.raises(ResetNeeded):
        a_dream(3).step(np.zeros((3, 2), np.float32))


def test_actions_of_another_shape_are_refused():
    world = a_dream(3)
    world.reset(seed=1)
    with pytest.raises(ValueError, match=r"actions of shape \(2, 1\); this world takes \(3, 1\)"):
        world.step(np.zeros((2, 1), np.float32))


def test_some_lanes_can_be_reset_alone():
    world = a_dream(3)
    features, *_ = trace(world, [1, 2, 3], 2)
    mask = np.array([False, True, False])
    after, _ = world.reset(seed=[5, 6, 7], options={"reset_mask": mask})
    np.testing.assert_array_equal(after[[0, 2]], features[-1][[0, 2]])
    np.testing.assert_array_equal(after[1], a_dream(3).reset(seed=[5, 6, 7])[0][1])


def test_lanes_that_had_no_seed_yet_dream_apart():
    world = a_dream(3)
    world.reset(seed=5, options={"reset_mask": np.array([True, False, False])})
    features, _ = world.reset()
    assert (features[1] != features[2]).any()


def test_a_batch_of_one_has_its_axis():
    world = a_dream(1)
    features, _ = world.reset(seed=3)
    assert features.shape == (1, LATENT + HIDDEN)
    after, rewards, terminated, truncated, _ = world.step(np.zeros((1, 1), np.float32))
    assert after.shape == (1, LATENT + HIDDEN)
    assert rewards.shape == terminated.shape == truncated.shape == (1,)
    assert rewards.dtype == np.float64
    assert terminated.dtype == truncated.dtype == bool


def test_observations_are_in_their_space_and_are_not_reused():
    world = a_dream(4)
    first, _ = world.reset(seed=1)
    assert first in world.observation_space
    kept = first.copy()
    after, *_ = world.step(world.action_space.sample())
    assert after in world.observation_space
    np.testing.assert_array_equal(first, kept)


def gymnasiums_own(count, mode, rnn):
    """The same dreams, one a lane, put together by Gymnasium."""
    return SyncVectorEnv(
        [lambda: SingleWorld(a_dream(1, rnn)) for _ in range(count)], autoreset_mode=mode
    )


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_it_is_what_gymnasium_makes_of_single_dreams(mode):
    """In every episode: a lane that restarts goes on with the seeds that a single one would."""
    rnn, count = an_rnn(), 12
    ours, theirs = a_dream(count, rnn, autoreset_mode=mode), gymnasiums_own(count, mode, rnn)
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is mode
    np.testing.assert_allclose(ours.reset(seed=3)[0], theirs.reset(seed=3)[0], atol=1e-5)
    ends = np.zeros(count)
    for _ in range(4 * TIME_LIMIT):
        actions = ours.action_space.sample()
        one, other = ours.step(actions), theirs.step(actions)
        for part, same in zip(one[:4], other[:4], strict=True):
            np.testing.assert_allclose(part, same, atol=1e-4)
        ended = other[2] | other[3]
        ends += ended
        if mode is AutoresetMode.SAME_STEP and ended.any():
            assert_equal_infos(one[4], other[4], ended)
        if mode is AutoresetMode.DISABLED and ended.any():
            break
    assert ends.any() if mode is AutoresetMode.DISABLED else (ends > 2).all()


def assert_equal_infos(ours, theirs, lanes):
    assert ours.keys() == theirs.keys()
    for name in ("final_obs", "final_info"):
        assert ours[f"_{name}"][lanes].all()
        assert type(ours[name]) is type(theirs[name])
    for lane in np.flatnonzero(lanes):
        np.testing.assert_allclose(ours["final_obs"][lane], theirs["final_obs"][lane], atol=1e-5)
    for lane in np.flatnonzero(~ours["_final_obs"]):
        assert ours["final_obs"][lane] is None


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_lane_that_restarts_takes_one_step_more_or_none(mode):
    """NEXT_STEP spends a step on a restart: no reward, no flags. SAME_STEP does it at once."""
    world = a_dream(30, an_rnn(), autoreset_mode=mode)
    features, rewards, terminated, truncated = trace(world, range(30), 3 * TIME_LIMIT)
    ended = terminated | truncated
    at_rest = (features[1:, :, LATENT:] == 0).all(axis=-1)
    if mode is AutoresetMode.SAME_STEP:
        np.testing.assert_array_equal(at_rest, ended)
        assert (rewards != 0).all()
    else:
        np.testing.assert_array_equal(at_rest[1:], ended[:-1])
        assert not at_rest[0].any()
        assert (rewards[at_rest] == 0).all()
        assert not ended[at_rest].any()
    steps = np.zeros(30, int)
    for now, end in zip(at_rest, ended, strict=True):
        steps = np.where(now & ~end, 0, steps + 1)
        assert (steps <= TIME_LIMIT).all()
        steps = np.where(end, 0, steps)


def test_lanes_that_restart_by_themselves_stay_independent():
    rnn = an_rnn()
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        several = trace(a_dream(3, rnn, autoreset_mode=mode), [1, 2, 3], 3 * TIME_LIMIT)
        alone = trace(a_dream(1, rnn, autoreset_mode=mode), [2], 3 * TIME_LIMIT)
        assert alone[2].sum() + alone[3].sum() >= 3
        for part, single in zip(several, alone, strict=True):
            np.testing.assert_allclose(part[:, 1], single[:, 0], atol=1e-4)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_gymnasiums_wrappers_take_the_dream_for_one_of_their_own(mode):
    world = RecordEpisodeStatistics(a_dream(4, an_rnn(reward_head=False), autoreset_mode=mode))
    world.reset(seed=1)
    lengths = []
    for _ in range(3 * TIME_LIMIT):
        *_, infos = world.step(world.action_space.sample())
        if "episode" in infos:
            done = infos["_episode"]
            np.testing.assert_array_equal(infos["episode"]["r"][done], infos["episode"]["l"][done])
            lengths += infos["episode"]["l"][done].tolist()
    assert len(lengths) > 8
    assert max(lengths) <= TIME_LIMIT


def test_v_draws_what_is_dreamt():
    vae = CountingVAE()
    world = a_dream(2, vae=vae)
    features, *_ = trace(world, [1, 2], 3)
    frames = world.render()
    expected = to_frames(vae.decode(torch.from_numpy(features[-1][:, :LATENT]))).numpy()
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 2
    np.testing.assert_array_equal(np.stack(frames), expected)
    assert world.render_mode == "rgb_array"
    assert a_dream(2).render() is a_dream(2).render_mode is None


def test_m_is_fed_what_the_task_says():
    """CarRacing's pedals; TakeCover's raw tanh output."""
    for name, action, fed in [
        ("carracing", [0.5, 0.0, -0.5], [0.5, 0.5, 0.0]),
        ("takecover", [0.2], [0.2]),
    ]:
        task = get_task(name)
        sizes = MDNRNNSizes(LATENT, task.action_size, HIDDEN, 2, False, False, False)
        rnn = MDNRNN(sizes).requires_grad_(False)
        world = DreamWorld(task, rnn, rnn, starts(), 1, 1.0, cell=False)
        before, _ = world.reset(seed=0)
        after, *_ = world.step(np.array([action], np.float32))
        latent = torch.from_numpy(before[:, :LATENT])
        never = torch.tensor([False])
        state = rnn.step(latent, torch.tensor([fed]), never, rnn.initial_state(1))
        np.testing.assert_allclose(after[:, LATENT:], state.hidden, atol=1e-6)


def test_dreams_are_gymnasium_vectors():
    assert isinstance(a_dream(2), gymnasium.vector.VectorEnv)
    assert a_dream(2).single_action_space.shape == (1,)
    assert a_dream(2, cell=True).observation_space.shape == (2, LATENT + 2 * HIDDEN)


@pytest.mark.parametrize(("weight", "chance"), [(1.0, 0.25), (4.0, 1 / 13)])
def test_a_drawn_end_comes_by_the_dreamers_chance_without_the_weight_of_its_training(
    weight, chance
):
    """Four times the weight in the loss is four times the odds: 1 to 3 was learned of 1 to 12."""
    lanes = 20_000
    dreamer = an_rnn(done_bias=float(np.log(1 / 3)), done_weight=weight)
    dream = a_dream(lanes, an_rnn(done_bias=5.0, done_weight=9.0), dreamer=dreamer, ends="drawn")
    dream.reset(seed=0)
    _, _, terminated, _, _ = dream.step(np.zeros((lanes, 1), np.float32))
    assert terminated.mean() == pytest.approx(chance, abs=4 * (chance / lanes) ** 0.5)


def test_without_a_done_head_nothing_ends_by_chance():
    dream = a_dream(4, an_rnn(done_head=False, done_weight=10.0), ends="drawn")
    *_, terminated, truncated = trace(dream, [1, 2, 3, 4], TIME_LIMIT)
    assert not terminated.any()
    assert truncated[-1].all()


@pytest.mark.parametrize("unbroken", [False, True])
def test_a_weighed_step_earns_by_the_chance_of_having_lasted_until_it(unbroken):
    rnn = an_rnn(reward_head=False, done_bias=1.0, done_weight=4.0)
    alive = 1 - torch.tensor(1.0 - math.log(4.0)).sigmoid().item()
    world = a_dream(2, rnn, weighed=True, autoreset_mode=AutoresetMode.SAME_STEP)
    world.unbroken = unbroken
    _, rewards, terminated, _ = trace(world, [1, 2], TIME_LIMIT)
    last = math.ceil(math.log(NEGLIGIBLE) / math.log(alive))
    assert last < TIME_LIMIT
    assert terminated[:, 0].argmax() + 1 == last
    weights = [alive ** (step % last) for step in range(TIME_LIMIT)]
    np.testing.assert_allclose(rewards, np.stack([weights] * 2, 1), rtol=1e-5)


def test_weighed_dreams_have_the_mean_of_drawn_ends_and_less_of_their_luck():
    rnn, lanes = an_rnn(reward_head=False, done_bias=0.0, done_weight=9.0), 4000
    rnn.heads.weight[-1] = 2 * rnn.heads.weight[0]  # what is dreamed decides
    drawn, weighed = (
        trace(world, range(lanes), TIME_LIMIT)[1].sum(axis=0)
        for world in (a_dream(lanes, rnn, ends="drawn"), a_dream(lanes, rnn, weighed=True))
    )
    assert 2 < drawn.mean() < TIME_LIMIT - 2
    error = (drawn.var() / lanes + weighed.var() / lanes) ** 0.5
    assert weighed.mean() == pytest.approx(drawn.mean(), abs=3 * error)
    assert weighed.var() < drawn.var() / 2


def trace_long(world, unbroken):
    """Several episodes a lane; `unbroken`, as on a GPU, lanes that rest are computed too."""
    world.unbroken = unbroken
    features, rewards, *ends = trace(world, range(world.num_envs), 3 * TIME_LIMIT)
    assert len(set(np.logical_or(*ends).argmax(axis=0))) > 2  # lanes restart while others go on
    return features, rewards, *ends


@pytest.mark.parametrize("unbroken", [False, True])
@pytest.mark.parametrize("cell", [True, False])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_another_dreamer_has_a_state_of_its_own_and_c_sees_the_agents(mode, cell, unbroken):
    """Each lane's episodes told again, both Ms' states at zero where one begins.

    At a temperature near zero z' is the mean of its likeliest component.
    """
    memory = an_rnn(restart_input=False, reward_head=False, done_head=False)
    dreamer = an_rnn(hidden=HIDDEN + 3)
    world = a_dream(12, memory, 1e-8, cell, dreamer=dreamer, autoreset_mode=mode)
    features, rewards, terminated, truncated = trace_long(world, unbroken)
    ended = terminated | truncated
    for lane in range(12):
        begins, episodes = True, 0
        for step in range(3 * TIME_LIMIT):
            if mode is AutoresetMode.NEXT_STEP and step and ended[step - 1, lane]:
                assert rewards[step, lane] == 0
                begins = True
                continue
            if begins:
                episodes += 1
                state, dreaming = memory.initial_state(1), dreamer.initial_state(1)
            seen = torch.from_numpy(features[step, lane][None])
            latent, expected = seen[:, :LATENT], torch.cat(state[: 1 + cell], dim=1)
            np.testing.assert_allclose(seen[:, LATENT:], expected, atol=1e-5)
            fed = 2 * torch.from_numpy(actions_of(lane, step))[None], torch.tensor([begins])
            state = memory.step(latent, *fed, state)
            dreaming = dreamer.step(latent, *fed, dreaming)
            told = dreamer.predict(dreaming.hidden)
            assert rewards[step, lane] == pytest.approx(told.reward.item(), abs=1e-5)
            assert terminated[step, lane] == (told.done_logit.item() > 0)
            begins = mode is AutoresetMode.SAME_STEP and ended[step, lane]
            if not begins:
                likeliest = told.mixture.logits.argmax(1, keepdim=True)
                mean = told.mixture.mu.gather(1, likeliest)[0, 0]
                np.testing.assert_allclose(features[step + 1, lane, :LATENT], mean, atol=2e-3)
            if mode is AutoresetMode.DISABLED and ended[step, lane]:
                break
        assert episodes == 1 if mode is AutoresetMode.DISABLED else episodes > 2


def test_a_lane_that_is_reset_alone_has_its_dreamer_begin_anew():
    """And the others go on, as they do where nothing is reset."""

    def steps(world):
        return [world.step(np.ones((3, 1), np.float32))[:4] for _ in range(3)]

    memory = an_rnn(reward_head=False, done_head=False)
    dreamer = an_rnn(done_bias=-1.0, hidden=HIDDEN + 3)
    world, beside, fresh = (a_dream(3, memory, dreamer=dreamer) for _ in range(3))
    for one in (world, beside):
        one.reset(seed=[1, 2, 3])
        steps(one)
    for one, mask in ((world, [False, True, False]), (fresh, [True] * 3)):
        one.reset(seed=[5, 6, 7], options={"reset_mask": np.array(mask)})
    for found, others, alone in zip(*map(steps, (world, beside, fresh)), strict=True):
        for part, other, single in zip(found, others, alone, strict=True):
            np.testing.assert_allclose(part[[0, 2]], other[[0, 2]], atol=1e-6)
            np.testing.assert_allclose(part[1], single[1], atol=1e-6)


@pytest.mark.parametrize("unbroken", [False, True])
@pytest.mark.parametrize("ends", ["likely", "drawn"])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_one_m_dreams_what_two_copies_of_it_dream_to_the_bit(mode, ends, unbroken):
    rnn = an_rnn(done_weight=4.0)
    one, two = (
        trace_long(a_dream(12, rnn, dreamer=m, autoreset_mode=mode, ends=ends), unbroken)
        for m in (rnn, deepcopy(rnn))
    )
    for part, copy in zip(one, two, strict=True):
        np.testing.assert_array_equal(part, copy)
