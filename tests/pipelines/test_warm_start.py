"""Where a later round's M and C begin."""

from dataclasses import replace

import pytest
import torch
import yaml

from pipelines.context import Context
from pipelines.rnn import rnn_before
from pipelines.search_context import warm_start
from tests.configs import PARAMS
from world_models.controller.checkpoint import save_controllers
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.layout import RoundFiles
from world_models.params import Params
from world_models.rnn.checkpoint import save_rnn
from world_models.rnn.model import MDNRNN, MDNRNNSizes
from world_models.runtime.errors import ConfigError
from world_models.tasks import get_task
from world_models.tracking.run import StageRun

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
    return Context("rnn", get_task("pendulum"), params, files, StageRun(), tmp_path)


def test_ends_may_weigh_otherwise_than_in_the_round_before(context):
    needed = MDNRNN(replace(SIZES, done_weight=3.0))
    assert rnn_before(context, needed).sizes == SIZES


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
        warm_start(context, rnn, needed)
    assert str(caught.value).startswith(
        "controller.warm_start: models/pendulum/controller.safetensors: 1 of ControllerSizes("
    )
