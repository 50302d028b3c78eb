"""The command line, as a user types it."""

import json
import subprocess
import sys

import pytest
import torch

from world_models import cli
from world_models.models.checkpoint import save_controllers, save_rnn, save_vae
from world_models.models.controller import Controllers, ControllerSizes
from world_models.models.mdnrnn import MDNRNN, MDNRNNSizes
from world_models.models.vae import VAE, VAESizes


@pytest.fixture
def models(tmp_path):
    """An agent for Pendulum that knows nothing."""
    torch.manual_seed(0)
    save_vae(tmp_path / "vae.safetensors", VAE(VAESizes(4)))
    save_rnn(tmp_path / "rnn.safetensors", MDNRNN(MDNRNNSizes(4, 1, 8, 2, False, True, False)))
    sizes = ControllerSizes(12, 1, bias=True, cell=False)
    still = Controllers(sizes, torch.zeros(1, sizes.parameter_count))
    save_controllers(tmp_path / "controller.safetensors", still)
    return tmp_path


def test_an_agent_is_scored_in_the_official_game(models, capsys):
    command = ["evaluate", "pendulum", "--models", str(models), "--episodes", "3"]
    cli.main([*command, "--lanes", "2", "--workers", "1"])
    scored = json.loads(capsys.readouterr().out)
    assert scored["episodes"] == 3
    low, high = scored["ci95"]
    assert low <= scored["mean"] <= high
    assert low > -3254  # 200 steps upside down and as fast as can be
    assert high < -500  # a rod that is left to itself hangs down
    cli.main([*command, "--lanes", "3", "--workers", "1"])
    again = json.loads(capsys.readouterr().out)
    assert again["mean"] == pytest.approx(scored["mean"], abs=0.01)


def refused(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return caught.value.code


def test_what_a_user_can_mend_is_one_line(models, capsys):
    line = refused("evaluate", "pong", "--models", str(models))
    assert line.startswith("world-models: unknown task 'pong'")
    (models / "rnn.safetensors").unlink()
    line = refused("evaluate", "pendulum", "--models", str(models))
    assert f"{models / 'rnn.safetensors'}: missing" in line
    assert "\n" not in line
    assert refused("evaluate", "pendulum", "--episodes", "1") == 2
    assert "1 is under 2" in capsys.readouterr().err


def test_it_starts_without_what_its_commands_need():
    heavy = ["torch", "numpy", "gymnasium", "mlflow", "pytorch_lightning", "zarr", "pydantic"]
    code = f"import sys, world_models.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
