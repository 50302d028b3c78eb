"""Which part in a training a process has, as launchers tell it."""

import pytest

from pipelines import ranks
from world_models.params import MachineConfig
from world_models.runtime.errors import ConfigError
from world_models.training.ranks import Devices

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}


def test_one_device_is_one_process_whatever_the_environment_says(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert ranks.devices(MachineConfig()) == Devices()


def test_torchruns_processes_know_their_part(monkeypatch):
    machine = MachineConfig(devices=2, num_nodes=2)
    with pytest.raises(ConfigError, match=r"^machine: 2 num_nodes of 2 devices: .*torchrun"):
        ranks.devices(machine)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert ranks.devices(machine) == Devices(2, 2, rank=3)
    with pytest.raises(ConfigError, match=r"torchrun has started 4 processes$"):
        ranks.devices(MachineConfig(devices=2))


def test_lightnings_processes_know_theirs(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ranks.devices(MachineConfig(devices=2)).rank == 1
