"""Which part in a training a process has, as launchers tell it."""

import os
import subprocess
import sys

import pytest

from pipelines import ranks
from tests.projects import ROOT
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


def test_a_rank_that_no_stage_leads_is_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConfigError, match=r"^LOCAL_RANK: set by something else"):
        ranks.follow()


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        ("encode@carracing", "encode: one process runs it; several train vae or rnn"),
        (
            "vae@carracing",
            "vae: machine: 1 num_nodes of 1 devices: torchrun has started 4 processes",
        ),
    ],
)
def test_torchrun_starts_no_process_that_the_stage_knows_nothing_of(monkeypatch, stage, line):
    """It would run the stage beside DVC."""
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["ranks", stage])
    monkeypatch.setattr(os, "execvp", lambda *command: pytest.fail(f"starts {command}"))
    with pytest.raises(SystemExit) as exit_:
        ranks.main()
    assert exit_.value.code == line


def test_without_torchrun_it_says_who_starts_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ranks", "vae@carracing"])
    with pytest.raises(SystemExit) as exit_:
        ranks.main()
    assert exit_.value.code == "vae: torchrun starts it: docs/how-to/cluster.md says how"


PAIR = """
import os, signal, sys
import torch
import torch.distributed as dist
from pipelines.ranks import is_loss

rank = 0 if os.fork() else 1
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=rank, world_size=2)
try:
    dist.barrier()  # before that the other one may not have met this one yet
    if rank:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.all_reduce(torch.ones(1))
except RuntimeError as error:
    print(is_loss(error), is_loss(RuntimeError("shapes differ")))
"""


def test_a_process_that_has_died_is_known_from_the_others_errors(tmp_path):
    said = subprocess.check_output(
        [sys.executable, "-c", PAIR, str(tmp_path / "meet")], cwd=ROOT, text=True
    )
    assert said.split() == ["True", "False"]
