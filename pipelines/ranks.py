r"""A stage that trains on several devices: a process each, of which only the first is DVC's.

Lightning starts those of one machine, by the stage's own command. Those of several machines are
torchrun's:

    torchrun --nnodes 2 --node-rank 0 --nproc-per-node 4 --master-addr … --master-port … \
        -m pipelines.ranks vae@carracing

There rank 0 runs the stage by DVC, also where it has the results already, since the others wait.
"""

import argparse
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from world_models.params import PARAMS, MachineConfig, Params
from world_models.runtime.errors import ConfigError, WorldModelsError

if TYPE_CHECKING:
    from world_models.training.ranks import Devices

STATE = "WORLD_MODELS_STATE"
"""Of rank 0, for the others: the folder of what the stage has done, below the project's."""
TRAINED = "vae", "rnn"
"""The stages that have several processes."""


def rank(machine: MachineConfig) -> int:
    """Returns which of a training's processes this is; 0 where there is one, whatever the
    environment says of Slurm's tasks, torchrun's or MPI's."""
    if _is_alone(machine):
        return 0
    return int(os.environ.get("RANK" if _is_torchruns() else "LOCAL_RANK", 0))


def devices(machine: MachineConfig) -> "Devices":
    """Returns what a stage trains on; raises ConfigError where torchrun has started others."""
    from world_models.training.ranks import Devices  # and with it torch, which takes seconds

    found = Devices(machine.devices, machine.num_nodes, machine.strategy, rank(machine))
    if found.count == 1:
        return found
    if _is_torchruns():
        _require_all(machine)
    elif found.num_nodes > 1:
        raise ConfigError(
            f"{_asked(machine)}: start the stage by torchrun: docs/how-to/cluster.md says how"
        )
    return found


def lead(machine: MachineConfig, state: Path) -> None:
    """Tells the other processes, if there are any, that they may begin and where it is kept."""
    if _is_alone(machine):
        return
    if _is_torchruns():
        _store().set(STATE, str(state))
    else:
        os.environ[STATE] = str(state)  # Lightning's inherit it


def follow() -> Path:
    """Waits for what `lead` says; raises ConfigError where no process of this stage leads."""
    if _is_torchruns():
        return Path(_store().get(STATE).decode())
    if STATE not in os.environ:
        raise ConfigError("LOCAL_RANK: set by something else than this stage; unset it")
    return Path(os.environ[STATE])


def is_loss(error: RuntimeError) -> bool:
    """Returns whether an error says that another process can't be reached: it has died, most often.

    Of gloo's errors the text alone tells.
    """
    from torch.distributed import DistError

    return isinstance(error, DistError) or "gloo/transport" in str(error)


def _is_alone(machine: MachineConfig) -> bool:
    return machine.devices * machine.num_nodes == 1


def _require_all(machine: MachineConfig) -> None:
    """Raises ConfigError where torchrun has started more processes, or fewer."""
    started = int(os.environ["WORLD_SIZE"])
    if started != machine.devices * machine.num_nodes:
        raise ConfigError(f"{_asked(machine)}: torchrun has started {started} processes")


def _asked(machine: MachineConfig) -> str:
    return f"machine: {machine.num_nodes} num_nodes of {machine.devices} devices"


def _is_torchruns() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _store() -> Any:
    """Of torchrun, which all its processes can read and write."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    at = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # Rank 0 may wait for another process that has the state.
    return TCPStore(*at, timeout=timedelta(days=1))


def main() -> None:
    """Becomes the process that torchrun wants: DVC's, or another rank of its stage."""
    parser = argparse.ArgumentParser(prog="pipelines.ranks", description=__doc__)
    parser.add_argument("stage", metavar="STAGE@ROUND", help="e.g. vae@carracing")
    address = parser.parse_args().stage
    stage, _, round_ = address.partition("@")
    try:
        if not _is_torchruns():
            raise ConfigError("torchrun starts it: docs/how-to/cluster.md says how")
        if stage not in TRAINED:
            raise ConfigError(f"one process runs it; several train {' or '.join(TRAINED)}")
        # Any that the stage knows nothing of would run it beside DVC, and write what it writes.
        _require_all(Params(PARAMS, round_).general(MachineConfig))
    except WorldModelsError as error:
        sys.exit(f"{stage}: {error}")
    command = [sys.executable, "-m", f"pipelines.{stage}", round_]
    if os.environ["RANK"] == "0":
        command = ["dvc", "repro", "--force", "--single-item", address]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
