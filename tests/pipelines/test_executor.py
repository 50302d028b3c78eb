"""Who works: params.yaml's executor, or the environment's."""

import pytest

from pipelines.context import executor
from world_models.params import MachineConfig
from world_models.runtime.errors import ConfigError


def test_the_environments_executor_takes_the_place_of_the_files(monkeypatch):
    assert executor(MachineConfig()) == "local"
    assert executor(MachineConfig(executor="ray")) == "ray"
    monkeypatch.setenv("WORLD_MODELS_EXECUTOR", "ray")
    assert executor(MachineConfig()) == "ray"
    monkeypatch.setenv("WORLD_MODELS_EXECUTOR", "slurm")
    with pytest.raises(ConfigError, match="no executor 'slurm'; there are: local, ray"):
        executor(MachineConfig())
