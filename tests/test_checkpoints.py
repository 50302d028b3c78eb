"""Models on disk: what is written is read, and what can't be read is said in one line."""

import errno
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from world_models.controller.checkpoint import (
    load_controllers,
    read_controller_sizes,
    save_controllers,
)
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.layout import explain
from world_models.rnn.checkpoint import SeveralSizes, load_rnn, load_rnns, save_rnn, save_rnns
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.runtime.checkpoint import halve, read_parameter_count, write_checkpoint
from world_models.runtime.errors import CheckpointError
from world_models.vae.checkpoint import load_vae, save_vae
from world_models.vae.model import VAE, VAESizes
from world_models.vae.starts import load_starts, save_starts

RNN_SIZES = MDNRNNSizes(4, 2, 8, 3, restart_input=True, reward_head=True, done_head=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the files of the task carracing lie, in the project's folder."""
    monkeypatch.chdir(tmp_path)
    return Path("models", "carracing")


@pytest.fixture
def rnn():
    torch.manual_seed(0)
    return MDNRNN(RNN_SIZES)


def controllers(features=12, actions=2):
    sizes = ControllerSizes(features, actions, bias=True, cell=False)
    return Controllers(sizes, torch.randn(1, sizes.parameter_count))


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def refused(path, load, *words, stage=None):
    """The error names the file and says why, from which follows how to make it, in one line."""
    with pytest.raises(CheckpointError) as caught:
        load()
    assert caught.value.path == path
    message = explain(caught.value, ["carracing"])
    assert message.startswith(f"{path}: ")
    assert all(word in message for word in words), message
    again = "`dvc repro --force --single-item {0}@carracing` makes it again"
    remedy = "`dvc repro {0}@carracing` makes it" if "missing" in words else again
    assert message.endswith(f"; {remedy.format(stage or path.stem)}")
    assert "\n" not in message


def test_vae_comes_back_as_it_was(folder):
    vae = VAE(VAESizes(4))
    save_vae(folder / "vae.safetensors", vae)
    loaded = load_vae(folder / "vae.safetensors")
    assert loaded.sizes == vae.sizes
    assert_equal_weights(loaded.state_dict(), vae.state_dict())
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


def test_rnn_comes_back_as_it_was(folder, rnn):
    save_rnn(folder / "rnn.safetensors", rnn)
    loaded = load_rnn(folder / "rnn.safetensors", latent_size=4, action_size=2)
    assert loaded.sizes == RNN_SIZES
    assert_equal_weights(loaded.state_dict(), rnn.state_dict())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_several_rnns_come_back_as_they_were_in_their_order(folder, count):
    path = folder / "dreamers.safetensors"
    rnns = [MDNRNN(RNN_SIZES) for _ in range(count)]
    save_rnns(path, rnns)
    loaded = load_rnns(path, latent_size=4, action_size=2)
    assert len(loaded) == count
    for found, rnn in zip(loaded, rnns, strict=True):
        assert found.sizes == RNN_SIZES
        assert_equal_weights(found.state_dict(), rnn.state_dict())
        assert not any(p.requires_grad for p in found.parameters())


def test_several_rnns_that_do_not_fit_are_named(folder, rnn):
    path = folder / "dreamers.safetensors"
    refused(path, lambda: load_rnns(path, 4, 2), "missing", stage="rnn")
    save_rnns(path, [rnn])
    refused(path, lambda: load_rnns(path, 32, 2), "latents of 4, not 32", stage="rnn")
    save_rnn(path, rnn)
    refused(path, lambda: load_rnns(path, 4, 2), "damaged", stage="rnn")
    write_checkpoint(path, {}, SeveralSizes(1, RNN_SIZES))
    refused(path, lambda: load_rnns(path, 4, 2), "other sizes", stage="rnn")


def test_the_latents_that_dreams_begin_from_come_back_as_they_were(folder):
    path = folder / "starts.safetensors"
    starts = torch.randn(5, 2, 4)
    save_starts(path, starts)
    torch.testing.assert_close(load_starts(path, latent_size=4), starts, rtol=0, atol=0)
    save_starts(path, starts.half())
    torch.testing.assert_close(load_starts(path, 4), starts.half().float(), rtol=0, atol=0)


def test_a_halved_file_is_read_as_any_other(folder, rnn):
    whole, half = (folder / name / "controller.safetensors" for name in ("whole", "half"))
    save_controllers(whole, controllers())
    halve(whole, half)
    assert half.stat().st_size < whole.stat().st_size
    found, full = load_controllers(half, rnn), load_controllers(whole, rnn)
    assert found.sizes == full.sizes
    assert found.parameters.dtype == torch.float32
    torch.testing.assert_close(found.parameters, full.parameters, rtol=1e-3, atol=1e-3)
    assert (found.parameters != full.parameters).any()
    assert read_parameter_count(half) == full.parameters.numel()
    save_rnn(whole.with_name("rnn.safetensors"), rnn)
    halve(whole.with_name("rnn.safetensors"), half.with_name("rnn.safetensors"))
    loaded = load_rnn(half.with_name("rnn.safetensors"), 4, 2)
    assert {weight.dtype for weight in loaded.state_dict().values()} == {torch.float32}


def test_latents_that_no_dream_can_begin_from_are_named(folder, rnn):
    path = folder / "starts.safetensors"
    refused(path, lambda: load_starts(path, 4), "missing", stage="encode")
    save_starts(path, torch.randn(5, 2, 4))
    refused(path, lambda: load_starts(path, 32), "latents of 4, not 32", stage="encode")
    for wrong in (torch.randn(5, 3, 4), torch.randn(0, 2, 4)):
        save_starts(path, wrong)
        refused(path, lambda: load_starts(path, 4), "sizes in its own header", stage="encode")
    save_rnn(path, rnn)
    refused(path, lambda: load_starts(path, 4), stage="encode")


@pytest.mark.parametrize("count", [1, 3])
def test_controllers_come_back_as_they_were(folder, rnn, count):
    sizes = ControllerSizes(12, 2, bias=True, cell=False)
    population = Controllers(sizes, torch.randn(count, sizes.parameter_count))
    save_controllers(folder / "controller.safetensors", population)
    loaded = load_controllers(folder / "controller.safetensors", rnn)
    assert loaded.sizes == sizes
    torch.testing.assert_close(loaded.parameters, population.parameters, rtol=0, atol=0)


@pytest.mark.parametrize("hidden_units", [None, 5])
def test_a_controller_on_z_alone_comes_back_as_it_was(folder, rnn, hidden_units):
    path = folder / "controller.safetensors"
    sizes = ControllerSizes(4, 2, bias=True, cell=False, hidden_units=hidden_units)
    alone = Controllers(sizes, torch.randn(1, sizes.parameter_count))
    save_controllers(path, alone)
    loaded = load_controllers(path, rnn)
    assert loaded.sizes == read_controller_sizes(path) == sizes
    torch.testing.assert_close(loaded.parameters, alone.parameters, rtol=0, atol=0)


def test_what_a_dream_needs_to_know_comes_back_to_the_last_bit(folder, rnn):
    """The weight of ends, which M's done head is corrected for, and what C's dreams were like."""
    weighted = MDNRNN(replace(RNN_SIZES, done_weight=0.1 + 0.2))
    save_rnn(folder / "rnn.safetensors", weighted)
    loaded = load_rnn(folder / "rnn.safetensors", latent_size=4, action_size=2)
    assert loaded.sizes.done_weight == 0.1 + 0.2
    sizes = ControllerSizes(12, 2, True, False, sampled=False, temperature=1.15, ends="drawn")
    save_controllers(
        folder / "controller.safetensors",
        Controllers(sizes, torch.randn(1, sizes.parameter_count)),
    )
    assert load_controllers(folder / "controller.safetensors", rnn).sizes == sizes
    other = ControllerSizes(4, 1, bias=False, cell=True, temperature=0.7)
    assert sizes.in_dreams_of(other) == replace(sizes, temperature=0.7, ends="likely")


def test_a_linear_controllers_file_says_nothing_of_hidden_units(folder):
    """Its bytes are those that it had before there were any."""
    save_controllers(folder / "controller.safetensors", controllers())
    assert b"hidden_units" not in (folder / "controller.safetensors").read_bytes()


def test_a_file_holds_no_pickle_and_equal_models_make_equal_bytes(folder, rnn):
    one, other = folder / "one.safetensors", folder / "other.safetensors"
    save_rnn(one, rnn)
    save_rnn(other, rnn)
    assert one.read_bytes() == other.read_bytes()
    assert b"pickle" not in one.read_bytes()
    assert b"torch" not in one.read_bytes()


def test_a_path_may_be_text_and_a_missing_file_is_named(folder, rnn):
    """As it is in most code of one's own."""
    for name, save, load in [
        ("vae", partial(save_vae, vae=VAE(VAESizes(4))), load_vae),
        ("rnn", partial(save_rnn, rnn=rnn), lambda path: load_rnn(path, 4, 2)),
        (
            "controller",
            partial(save_controllers, controllers=controllers()),
            lambda path: load_controllers(path, rnn),
        ),
    ]:
        path = folder / f"{name}.safetensors"
        refused(path, lambda load=load, path=path: load(str(path)), "missing")
        save(str(path))
        assert load(str(path)).sizes == load(path).sizes


@pytest.mark.parametrize("kept", [0, 4, 40, 1000, -1])
def test_a_truncated_file_is_named(folder, rnn, kept):
    path = folder / "rnn.safetensors"
    save_rnn(path, rnn)
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, lambda: load_rnn(path, 4, 2), "damaged")


def test_a_file_of_another_layout_is_named(folder, rnn, monkeypatch):
    path = folder / "rnn.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("world_models.runtime.checkpoint.LAYOUT", 1)
        save_rnn(path, rnn)
    refused(path, lambda: load_rnn(path, 4, 2), "made by another version")


def test_a_file_of_something_else_is_named(folder):
    path = folder / "vae.safetensors"
    folder.mkdir(parents=True)
    path.write_text("version https://git-lfs.github.com/spec/v1\n" * 3)
    refused(path, lambda: load_vae(path), "damaged")
    save_file({"weight": torch.zeros(2)}, path)
    refused(path, lambda: load_vae(path), "damaged")


def test_a_checkpoint_of_another_model_is_named(folder, rnn):
    path = folder / "vae.safetensors"
    save_rnn(path, rnn)
    refused(path, lambda: load_vae(path))
    path = folder / "controller.safetensors"
    save_vae(path, VAE(VAESizes(4)))
    refused(path, lambda: load_controllers(path, rnn))


def test_a_checkpoint_whose_weights_are_not_of_its_sizes_is_named(folder, rnn):
    path = folder / "rnn.safetensors"
    rnn.sizes = MDNRNNSizes(4, 2, 9, 3, restart_input=True, reward_head=True, done_head=False)
    save_rnn(path, rnn)
    refused(path, lambda: load_rnn(path, 4, 2), "sizes")


def test_an_rnn_for_other_latents_or_actions_is_named(folder, rnn):
    path = folder / "rnn.safetensors"
    save_rnn(path, rnn)
    refused(path, lambda: load_rnn(path, 32, 2), "latents of 4, not 32")
    refused(path, lambda: load_rnn(path, 4, 3), "actions of 2, not 3")


def test_a_controller_for_other_features_or_actions_is_named(folder, rnn):
    path = folder / "controller.safetensors"
    save_controllers(path, controllers(features=13))
    refused(path, lambda: load_controllers(path, rnn), "features of 13, not 12")
    save_controllers(path, controllers(actions=3))
    refused(path, lambda: load_controllers(path, rnn), "actions of 3, not 2")


def test_a_full_disk_leaves_the_old_file_and_no_other(folder, monkeypatch):
    path = folder / "vae.safetensors"
    save_vae(path, VAE(VAESizes(4)))
    before = path.read_bytes()

    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name in [(os, "replace"), (type(path), "write_bytes")]:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full)
            with pytest.raises(OSError, match="No space left"):
                save_vae(path, VAE(VAESizes(4)))
        assert list(folder.iterdir()) == [path]
        assert path.read_bytes() == before
