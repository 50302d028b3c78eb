"""Where a later round's M and C begin."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from pipelines.context import Context
from pipelines.rnn import rnn_before
from pipelines.warm_start import as_before, refitted, warm_start
from tests.configs import PARAMS
from tests.episodes import write_episodes
from world_models.controller.checkpoint import save_controllers
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.data.store import EpisodeStore
from world_models.layout import RoundFiles
from world_models.params import Params
from world_models.rnn.checkpoint import save_rnn, save_rnns
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.runtime.errors import ConfigError
from world_models.runtime.processes import WorkerPool
from world_models.tasks import get_task
from world_models.tracking.run import StageRun
from world_models.vae.checkpoint import save_vae
from world_models.vae.encoding import encode
from world_models.vae.model import VAE, VAESizes
from world_models.vae.starts import save_starts
from world_models.worlds.recorded import recorded_features

SIZES = MDNRNNSizes(4, 1, 8, 3, restart_input=False, reward_head=True, done_head=True)


@pytest.fixture
def context(tmp_path, monkeypatch):
    """Stage rnn of a second round, where there is an M of the first."""
    monkeypatch.chdir(tmp_path)
    contents = yaml.safe_load(PARAMS.read_text())
    later = {"task": "pendulum", "after": "pendulum", "settings": "pendulum.later"}
    contents["rounds"] = {"pendulum": later | {"after": "nothing", "settings": "pendulum"}}
    contents["rounds"]["pendulum-2"] = later
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(contents))
    params, files = Params(tmp_path / "params.yaml", "pendulum-2"), RoundFiles("pendulum-2")
    save_rnn(RoundFiles("pendulum").model("rnn"), MDNRNN(SIZES))
    save_starts(RoundFiles("pendulum").model("starts"), torch.zeros(1, 2, 4))
    return Context("rnn", get_task("pendulum"), params, files, StageRun(), tmp_path)


def test_ends_may_weigh_otherwise_than_in_the_round_before(context):
    needed = MDNRNN(replace(SIZES, done_weight=3.0))
    assert rnn_before(context, needed).sizes == SIZES


def test_a_dreamer_goes_on_from_that_of_its_number(context):
    file, dreamers = RoundFiles("pendulum").model("dreamers"), [MDNRNN(SIZES), MDNRNN(SIZES)]
    save_rnns(file, dreamers)
    for number, dreamer in enumerate(dreamers, 1):
        found = rnn_before(context, MDNRNN(SIZES), number)
        assert torch.equal(found.heads.weight, dreamer.heads.weight)
    with pytest.raises(ConfigError) as caught:
        rnn_before(context, MDNRNN(SIZES), 3)
    assert str(caught.value) == f"rnn.warm_start: {file}: 2 dreamers, no number 3"


def test_an_m_of_other_heads_is_refused(context):
    with pytest.raises(ConfigError) as caught:
        rnn_before(context, MDNRNN(replace(SIZES, done_head=False)))
    assert str(caught.value).startswith(
        "rnn.warm_start: models/pendulum/rnn.safetensors: MDNRNNSizes("
    )


def test_a_c_of_other_sizes_is_refused(context):
    rnn = MDNRNN(SIZES)
    bare = Controllers(ControllerSizes(12, 1, bias=False, cell=False), torch.zeros(1, 12))
    save_controllers(RoundFiles("pendulum").model("controller"), bare)
    needed = replace(bare.sizes, bias=True)
    with pytest.raises(ConfigError) as caught:
        as_before(context, rnn, needed)
    assert str(caught.value).startswith(
        "controller.warm_start: models/pendulum/controller.safetensors: 1 of ControllerSizes("
    )


@pytest.fixture
def episodes(context):
    """The second round's, which nobody played."""
    write_episodes(Path(), round_="pendulum-2")
    return EpisodeStore(context.files.episodes)


def through(vae, episodes, folder):
    list(encode(episodes, vae, folder, 100, WorkerPool(1)))
    return EpisodeStore(folder)


def seen(store, rnn):
    task, listed = get_task("pendulum"), store.episodes()
    return torch.cat([recorded_features(store.read(at), task, rnn, False) for at in listed])


def test_c_is_carried_over_to_another_v_and_m(context, episodes):
    """It acts on their features much as it did on those of the round before."""
    torch.manual_seed(0)
    before = VAE(VAESizes(4)).eval(), MDNRNN(SIZES).eval()
    now = VAE(VAESizes(4)).eval(), MDNRNN(replace(SIZES, hidden_size=64)).eval()
    save_vae(RoundFiles("pendulum").model("vae"), before[0])
    save_rnn(RoundFiles("pendulum").model("rnn"), before[1])
    old = Controllers(
        ControllerSizes(12, 1, bias=True, cell=False, sampled=False), torch.randn(1, 13)
    )
    save_controllers(RoundFiles("pendulum").model("controller"), old)
    then = seen(through(before[0], episodes, context.files.latents.with_name("before")), before[1])
    latents = through(now[0], episodes, context.files.latents)
    sizes = ControllerSizes(68, 1, bias=True, cell=False, sampled=False)
    found = replace(context, params=context.params.changed({"controller": {"warm_start": "refit"}}))
    new = warm_start(found, now[1], sizes, latents)
    assert new.sizes == sizes
    wanted, found = old.act(then), new.act(seen(latents, now[1]))
    assert (found - wanted).square().mean() < 0.3 * (wanted - wanted.mean()).square().mean()


def test_a_drawn_z_is_another_than_its_mean_and_the_same_at_each_call(context, episodes):
    torch.manual_seed(0)
    latents, rnn = through(VAE(VAESizes(4)), episodes, context.files.latents), MDNRNN(SIZES).eval()
    episode = latents.read(latents.episodes()[0])
    mean, drawn, again = (
        recorded_features(episode, context.task, rnn, False, sampled)
        for sampled in (False, True, True)
    )
    assert torch.equal(drawn, again)
    deviation = torch.from_numpy(episode.frames["logvar"]).div(2).exp()[:-1]
    off = ((drawn - mean)[:, :4] / deviation).flatten()
    assert off.std().item() == pytest.approx(1, abs=0.1)


def test_a_c_with_a_hidden_layer_is_not_carried_over(context, episodes):
    save_vae(RoundFiles("pendulum").model("vae"), VAE(VAESizes(4)))
    sizes = ControllerSizes(12, 1, bias=True, cell=False, hidden_units=2)
    hidden = Controllers(sizes, torch.zeros(1, sizes.parameter_count))
    save_controllers(RoundFiles("pendulum").model("controller"), hidden)
    with pytest.raises(ConfigError, match=r"refit: only one linear C can be carried over"):
        refitted(context, MDNRNN(SIZES), sizes, episodes)
