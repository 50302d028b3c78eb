"""M: the paper's sizes, and a sequence against the same steps one by one."""

import pytest
import torch

from world_models.rnn.model import MDNRNN, MDNRNNSizes, State

CARRACING = MDNRNNSizes(32, 3, 256, 5, restart_input=False, reward_head=False, done_head=False)
TAKECOVER = MDNRNNSizes(64, 1, 512, 5, restart_input=True, reward_head=False, done_head=True)
SMALL = MDNRNNSizes(4, 2, 8, 3, restart_input=True, reward_head=True, done_head=True)


def parameters(sizes):
    """The paper has one bias where torch's LSTM has two, of which the second is fixed."""
    return sum(p.numel() for p in MDNRNN(sizes).parameters() if p.requires_grad)


def test_parameter_counts_are_the_papers():
    assert parameters(CARRACING) == 422_368
    assert parameters(TAKECOVER) == 1_678_785


def test_the_reward_head_adds_a_row():
    with_reward = MDNRNNSizes(32, 3, 256, 5, False, reward_head=True, done_head=False)
    assert parameters(with_reward) == 422_368 + 257


def a_sequence(sizes, steps, lanes, seed=0):
    torch.manual_seed(seed)
    latent, action = torch.randn(steps, lanes, sizes.latent_size), torch.randn(steps, lanes, 2)
    restart = torch.zeros(steps, lanes, dtype=torch.bool)
    return latent, action, restart


def one_by_one(rnn, latent, action, restart, state):
    hiddens = []
    for step in zip(latent, action, restart, strict=True):
        state = rnn.step(*step, state)
        hiddens.append(state.hidden)
    return torch.stack(hiddens), state


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("restart_input", [True, False])
def test_a_sequence_equals_its_steps_one_by_one(lanes, restart_input):
    rnn = MDNRNN(MDNRNNSizes(4, 2, 8, 3, restart_input, reward_head=True, done_head=True))
    latent, action, restart = a_sequence(rnn.sizes, 12, lanes)
    restart[0] = True
    restart[5, 0] = restart[6, -1] = restart[11, 0] = True
    start = State(torch.randn(lanes, 8), torch.randn(lanes, 8))
    together, last = rnn.advance(latent, action, restart, start)
    apart, last_apart = one_by_one(rnn, latent, action, restart, start)
    assert together.shape == (12, lanes, 8)
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(tuple(last), tuple(last_apart))
    torch.testing.assert_close(together[-1], last.hidden)


def test_a_restart_forgets_all_that_went_before_in_its_lane_alone():
    rnn = MDNRNN(SMALL)
    latent, action, restart = a_sequence(SMALL, 10, 2)
    start = State(torch.randn(2, 8), torch.randn(2, 8))
    unbroken, _ = rnn.advance(latent, action, restart, start)
    restart[4, 1] = True
    broken, _ = rnn.advance(latent, action, restart, start)
    torch.testing.assert_close(broken[:, 0], unbroken[:, 0])
    assert (broken[4:, 1] != unbroken[4:, 1]).any()
    fresh, _ = rnn.advance(latent[4:, 1:], action[4:, 1:], restart[4:, 1:], rnn.initial_state(1))
    torch.testing.assert_close(broken[4:, 1:], fresh)


def test_state_carried_from_one_piece_to_the_next_makes_one_sequence():
    rnn = MDNRNN(SMALL)
    latent, action, restart = a_sequence(SMALL, 9, 2)
    restart[3, 0] = True
    whole, _ = rnn.advance(latent, action, restart, rnn.initial_state(2))
    first, state = rnn.advance(latent[:4], action[:4], restart[:4], rnn.initial_state(2))
    second, _ = rnn.advance(latent[4:], action[4:], restart[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)


def test_a_lane_does_not_depend_on_its_neighbours():
    rnn = MDNRNN(SMALL)
    latent, action, restart = a_sequence(SMALL, 6, 3)
    restart[2, 0] = restart[4, 2] = True
    together, _ = rnn.advance(latent, action, restart, rnn.initial_state(3))
    alone, _ = rnn.advance(latent[:, 1:2], action[:, 1:2], restart[:, 1:2], rnn.initial_state(1))
    torch.testing.assert_close(together[:, 1:2], alone)


def test_the_restart_flag_is_an_input_only_where_it_is_asked_for():
    for restart_input in (True, False):
        torch.manual_seed(0)
        rnn = MDNRNN(MDNRNNSizes(4, 2, 8, 3, restart_input, reward_head=False, done_head=False))
        latent, action, never = a_sequence(rnn.sizes, 1, 1)
        zeros = rnn.initial_state(1)
        told = rnn.step(latent[0], action[0], ~never[0], zeros).hidden
        untold = rnn.step(latent[0], action[0], never[0], zeros).hidden
        assert bool((told != untold).any()) == restart_input


def test_predictions_have_the_shapes_of_their_heads():
    rnn = MDNRNN(SMALL)
    prediction = rnn.predict(torch.randn(5, 1, 8))
    assert all(part.shape == (5, 1, 3, 4) for part in prediction.mixture)
    assert prediction.reward.shape == prediction.done_logit.shape == (5, 1)
    bare = MDNRNN(MDNRNNSizes(4, 2, 8, 3, False, reward_head=False, done_head=False))
    assert bare.predict(torch.randn(1, 8))[1:] == (None, None)


def test_heads_read_columns_of_their_own():
    rnn = MDNRNN(SMALL)
    hidden = torch.randn(2, 8)
    before = rnn.predict(hidden)
    with torch.no_grad():
        rnn.heads.bias[-1] += 1
    after = rnn.predict(hidden)
    torch.testing.assert_close(after.done_logit, before.done_logit + 1)
    torch.testing.assert_close(after.reward, before.reward)
    torch.testing.assert_close(tuple(after.mixture), tuple(before.mixture))


def test_the_forget_gate_starts_open_and_the_second_bias_stays_zero_in_training():
    rnn = MDNRNN(SMALL)
    assert rnn.lstm.bias_ih_l0.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    latent, action, restart = a_sequence(SMALL, 5, 2)
    optimizer = torch.optim.Adam([p for p in rnn.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        hidden, _ = rnn.advance(latent, action, restart, rnn.initial_state(2))
        optimizer.zero_grad()
        rnn.predict(hidden).reward.square().mean().backward()
        optimizer.step()
    assert rnn.lstm.bias_hh_l0.abs().max() == 0
    assert rnn.lstm.bias_ih_l0[:8].abs().max() > 0
