"""Who works: params.yaml's executor, or the environment's."""

import subprocess
import sys
from functools import partial
from typing import Any

import pytest

import pipelines
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


LOAD = """
import pickle, sys
make = pickle.loads(sys.stdin.buffer.read())
assert not any(name.split(".")[0] == "pipelines" for name in sys.modules)
print(make.func.__name__)
"""


def test_workers_need_no_code_of_the_pipelines(monkeypatch, tmp_path):
    """They may lie on machines where the project has another path, or is none."""
    import ray

    from pipelines.search_context import SearchContext
    from world_models.runtime.ray_pool import RayPool

    sent: list[Any] = []
    monkeypatch.setattr(ray, "put", sent.append)
    nothing: Any = None
    search = SearchContext(*[nothing] * 8)
    RayPool(code=pipelines).open(partial(search.open_real_world, patience=1))
    done = subprocess.run(
        [sys.executable, "-c", LOAD], input=sent[0].tobytes(), cwd=tmp_path, capture_output=True
    )
    assert done.stdout == b"open_real_world\n", done.stderr
