"""V and M learn, and stop where a loss is lost."""

import math
import os
import signal
import sys
from itertools import pairwise

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only

from tests.configs import SMALL_M, changed, smoke
from tests.counting import COUNTING, DOUBLED
from world_models.rnn.model import MDNRNN
from world_models.rnn.training import RNNTraining, SequenceData
from world_models.runtime.errors import ConfigError, DivergedError
from world_models.runtime.precision import has_bfloat16
from world_models.training.checkpoint import batches_kept
from world_models.training.trainer import fit
from world_models.vae.training import ERRORS, FrameData, VAETraining

VAE_CONFIG = smoke(
    "vae",
    latent_size=2,
    batches=14,
    batch_size=16,
    learning_rate=1e-3,
    free_nats=0.5,
    precision="32-true",
    validate_every=7,
)
RNN_CONFIG = smoke(
    "rnn",
    **SMALL_M,
    done_weight=10.0,
    batches=200,
    lanes=8,
    steps=12,
    learning_rate_decay=0.99,
    learning_rate_floor=1e-3,
    precision="32-true",
    validate_every=100,
)


def train(module, data, config, state, log=lambda *_: None):
    return fit(
        module,
        data,
        label="test",
        batches=config.batches,
        validate_every=config.validate_every,
        precision=config.precision,
        log=log,
        state=state,
        gradient_clip=getattr(config, "gradient_clip", None),
    )


def train_vae(store, state, config=VAE_CONFIG, kind=VAETraining, log=lambda *_: None):
    pl.seed_everything(1, verbose=False)
    module = kind(config)
    return module.vae, train(module, FrameData(store, config, 1), config, state, log)


def train_rnn(store, state, config=RNN_CONFIG, task=COUNTING, log=lambda *_: None):
    pl.seed_everything(1, verbose=False)
    module = RNNTraining(config, task, latent_size=1)
    return module.rnn, train(module, SequenceData(store, config, 1), config, state, log)


def losses(logged, name):
    """A training metric's values, in order."""
    return [metrics[name] for metrics, _ in logged if name in metrics]


def test_v_learns(frames, tmp_path):
    untrained, before = train_vae(frames, tmp_path / "0", changed(VAE_CONFIG, batches=1))
    trained, metrics = train_vae(frames, tmp_path / "1")
    for split in ("train", "validation"):
        assert metrics[f"{split}/loss"] < 0.8 * before[f"{split}/loss"]
        parts = metrics[f"{split}/reconstruction"] + max(metrics[f"{split}/kl"], 1.0)
        assert metrics[f"{split}/loss"] == pytest.approx(parts, rel=0.02)
    assert (trained.mu.weight != untrained.mu.weight).any()


def test_v_learns_by_cross_entropy(frames, tmp_path):
    config = changed(VAE_CONFIG, error="cross_entropy")
    _, before = train_vae(frames, tmp_path / "0", changed(config, batches=1))
    _, metrics = train_vae(frames, tmp_path / "1", config)
    for name in ("train/loss", "validation/loss", "validation/reconstruction"):
        assert metrics[name] < 0.8 * before[name], name
    _, squared = train_vae(frames, tmp_path / "2", changed(VAE_CONFIG, batches=1))
    assert before["validation/reconstruction"] == pytest.approx(
        squared["validation/reconstruction"], rel=0.1
    )
    assert before["validation/loss"] > 2 * squared["validation/loss"]  # 0.69 nats a number or more


def test_where_a_picture_is_black_only_cross_entropy_pulls_at_it():
    images, pulls = torch.full((1, 3, 64, 64), 0.5), {}
    for name, error in ERRORS.items():
        logits = torch.full_like(images, -12.0, requires_grad=True)
        error(logits, images).sum().backward()
        pulls[name] = -logits.grad[0, 0, 0, 0].item()
    assert pulls["squared"] < 1e-5
    assert pulls["cross_entropy"] == pytest.approx(0.5, rel=1e-4)


def test_metrics_are_of_every_20th_batch_and_of_the_last(frames, tmp_path, monkeypatch):
    def trained(state):
        logged = []
        config = changed(VAE_CONFIG, batches=41, batch_size=2, validate_every=41)
        _, metrics = train_vae(frames, state, config, log=lambda *entry: logged.append(entry))
        return metrics, {step: m["train/loss"] for m, step in logged if "train/loss" in m}

    metrics, some = trained(tmp_path / "0")
    monkeypatch.setattr("world_models.training.trainer.LOG_EVERY", 1)
    _, each = trained(tmp_path / "1")
    assert some == {step: each[step] for step in (19, 39)}
    assert metrics["train/loss"] == each[40]


def test_kl_below_the_free_nats_costs_as_much_as_they_are(frames, monkeypatch):
    batch = next(iter(FrameData(frames, VAE_CONFIG, 1).train_dataloader()))
    logged = {}
    monkeypatch.setattr(
        "world_models.vae.training.log_training", lambda _, metrics: logged.update(metrics)
    )
    for free_nats in (0.0, 1e4):
        module = VAETraining(changed(VAE_CONFIG, free_nats=free_nats))
        loss = module.training_step(batch)
        kl = VAE_CONFIG.latent_size * free_nats or logged["kl"]
        torch.testing.assert_close(loss, logged["reconstruction"] + kl)


@pytest.fixture(scope="module")
def trained_rnn(latents, tmp_path_factory):
    logged = []
    rnn, metrics = train_rnn(
        latents, tmp_path_factory.mktemp("rnn"), log=lambda *entry: logged.append(entry)
    )
    return rnn, metrics, logged


def test_m_learns(trained_rnn):
    _, metrics, logged = trained_rnn
    nll = losses(logged, "train/nll")
    assert nll[-1] < nll[0] - 0.5
    assert metrics["validation/nll"] < nll[0] - 0.5
    assert metrics["validation/reward_error"] < 0.4
    assert losses(logged, "train/done")[-1] < losses(logged, "train/done")[0]


def test_m_reports_all_that_it_learns(trained_rnn):
    _, metrics, logged = trained_rnn
    for split in ("train", "validation"):
        assert {f"{split}/{name}" for name in ("nll", "reward", "done")} <= set(metrics)
    assert 0 < metrics["validation/done_precision"] <= 1
    assert 0.5 < metrics["validation/done_recall"] <= 1
    assert all(math.isfinite(value) for value in metrics.values())
    steps = [step for _, step in logged]
    assert steps == sorted(steps)
    assert steps[-1] >= RNN_CONFIG.batches - 1


def test_heads_that_m_lacks_are_neither_trained_nor_reported(latents, tmp_path):
    config = changed(RNN_CONFIG, batches=4, validate_every=2, reward_head=False, done_head=False)
    _, metrics = train_rnn(latents, tmp_path, config)
    assert {name.split("/")[1] for name in metrics} == {"nll", "loss"}


def test_m_is_fed_actions_as_the_task_says(latents, tmp_path, monkeypatch):
    fed = []
    advance = MDNRNN.advance

    def seen(self, latent, action, restart, state):
        fed.append(action.abs().max().item())
        return advance(self, latent, action, restart, state)

    monkeypatch.setattr(MDNRNN, "advance", seen)
    config = changed(RNN_CONFIG, batches=2, validate_every=2)
    for name, task in {"same": COUNTING, "doubled": DOUBLED}.items():
        fed.clear()
        train_rnn(latents, tmp_path / name, config, task)
        assert (max(fed) > 1) == (task is DOUBLED)


def test_ms_state_goes_on_from_batch_to_batch_and_begins_anew_in_validation(
    latents, tmp_path, monkeypatch
):
    states = []
    advance = MDNRNN.advance

    def seen(self, latent, action, restart, state):
        hidden, after = advance(self, latent, action, restart, state)
        states.append((self.training, state.hidden.clone(), after.hidden.detach().clone()))
        return hidden, after

    monkeypatch.setattr(MDNRNN, "advance", seen)
    train_rnn(latents, tmp_path, changed(RNN_CONFIG, batches=4, validate_every=2))
    training = [(before, after) for is_training, before, after in states if is_training]
    assert len(training) == 4
    assert training[0][0].abs().max() == 0
    for (_, after), (before, _) in pairwise(training):
        torch.testing.assert_close(before, after, rtol=0, atol=0)
        assert not before.requires_grad
    firsts = [
        before
        for (was_training, *_), (is_training, before, _) in pairwise(states)
        if was_training and not is_training
    ]
    assert len(firsts) == 2
    assert all(before.abs().max() == 0 for before in firsts)


def test_the_end_of_an_episode_weighs_more(latents, tmp_path):
    """A weight of 10 makes M call more ends, and miss fewer."""
    recall = [
        train_rnn(
            latents, tmp_path / str(weight), changed(RNN_CONFIG, done_weight=weight, batches=60)
        )[1]["validation/done_recall"]
        for weight in (0.1, 10.0)
    ]
    assert recall[1] > recall[0]


def learning_rates(module, batches):
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]
    assert schedule["interval"] == "step"
    rates = []
    for _ in range(batches):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule["scheduler"].step()
    return rates


def test_the_learning_rate_decays_to_its_floor():
    rates = learning_rates(RNNTraining(RNN_CONFIG, COUNTING, latent_size=1), 400)
    assert rates[:3] == pytest.approx([1e-2, 1e-2 * 0.99, 1e-2 * 0.99**2])
    assert rates[-1] == pytest.approx(1e-3)
    assert rates == sorted(rates, reverse=True)
    config = changed(VAE_CONFIG, learning_rate_decay=0.9)
    assert learning_rates(VAETraining(config), 3) == pytest.approx([1e-3, 0.9e-3, 0.81e-3])


class Diverging(VAETraining):
    """Loses its loss in the sixth batch."""

    def training_step(self, frames):
        loss = super().training_step(frames)
        return loss * float("nan") if self.global_step == 5 else loss


def test_a_loss_that_is_no_number_stops_the_training_and_the_last_good_weights_are_kept(
    frames, tmp_path
):
    config = changed(VAE_CONFIG, validate_every=2)
    with pytest.raises(DivergedError, match=r"^the loss became nan at batch .*learning_rate") as e:
        train_vae(frames, tmp_path / "state", config, Diverging)
    assert str(tmp_path / "state") in str(e.value)
    kept = torch.load(tmp_path / "state" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 4
    assert all(torch.isfinite(weight).all() for weight in kept["state_dict"].values())


class LosingItsWeights(VAETraining):
    """Has weights that are no numbers after its fourth batch, whose loss was still one."""

    def training_step(self, frames):
        loss = super().training_step(frames)
        if self.global_step == 3:
            self.vae.mu.bias.register_hook(lambda gradient: gradient * float("nan"))
        return loss


@pytest.mark.parametrize("batches", [4, 8])
def test_weights_that_are_no_numbers_are_not_kept(frames, tmp_path, batches):
    config = changed(VAE_CONFIG, batches=batches, validate_every=2)
    with pytest.raises(DivergedError, match="learning_rate"):
        train_vae(frames, tmp_path, config, LosingItsWeights)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(weight).all() for weight in kept["state_dict"].values())


class Interrupted(VAETraining):
    """Feels Ctrl-C in the third batch."""

    def training_step(self, frames):
        if self.global_step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(frames)


def test_ctrl_c_is_a_keyboard_interrupt_and_works_again_after_it(frames, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_vae(frames, tmp_path, VAE_CONFIG, Interrupted)
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, before)


def test_bfloat16_is_refused_where_there_is_none(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    config = changed(VAE_CONFIG, precision="bf16-mixed")
    with pytest.raises(ConfigError, match=r"precision: bf16-mixed: .* use 32-true"):
        train_vae(frames, tmp_path, config)


@pytest.mark.skipif(not has_bfloat16(), reason="this machine has no bfloat16")
def test_bfloat16_trains_too(frames, latents, tmp_path):
    config = changed(VAE_CONFIG, batches=2, validate_every=2, precision="bf16-mixed")
    vae, metrics = train_vae(frames, tmp_path / "vae", config)
    assert vae.mu.weight.dtype == torch.float32
    assert math.isfinite(metrics["validation/loss"])
    config = changed(RNN_CONFIG, batches=2, validate_every=2, precision="bf16-mixed")
    _, metrics = train_rnn(latents, tmp_path / "rnn", config)
    assert math.isfinite(metrics["validation/nll"])


class Terminated(VAETraining):
    """Is sent SIGTERM in its 21st batch."""

    def training_step(self, frames):
        if self.global_step == 20:
            signal.raise_signal(signal.SIGTERM)
        return super().training_step(frames)


SLURM = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "2"}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "GROUP_RANK": "0",
    "RANK": "2",
    "LOCAL_RANK": "2",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "4",
}


@pytest.mark.parametrize("launcher", [SLURM, TORCHRUN], ids=["slurm", "torchrun"])
def test_one_process_trains_and_ends_whatever_a_launcher_of_several_says(
    frames, tmp_path, monkeypatch, launcher
):
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 2)  # as Lightning's import would have it there
    logged = []
    config = changed(VAE_CONFIG, batches=41, batch_size=2, validate_every=20)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with pytest.raises(SystemExit) as end:
            train_vae(frames, tmp_path, config, Terminated, lambda *entry: logged.append(entry))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 143
    assert losses(logged, "train/loss")
    assert batches_kept(tmp_path / "last.ckpt") == 20
