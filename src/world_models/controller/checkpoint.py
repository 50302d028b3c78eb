"""C on disk."""

from pathlib import Path

from world_models.controller.policy import Controllers, ControllerSizes
from world_models.rnn.model import MDNRNN
from world_models.runtime.checkpoint import check_size, read_checkpoint, write_checkpoint
from world_models.runtime.errors import CheckpointError
from world_models.worlds.features import feature_size


def save_controllers(path: str | Path, controllers: Controllers) -> None:
    """Writes C, or a population of them."""
    write_checkpoint(path, {"parameters": controllers.parameters}, controllers.sizes)


def load_controllers(path: str | Path, rnn: MDNRNN) -> Controllers:
    """Reads C, which must act on the features of this M, or on z alone.

    Raises CheckpointError where the file is missing, damaged, not of C or of other sizes.
    """
    tensors, sizes = read_checkpoint(path, ControllerSizes)
    if sizes.feature_size != rnn.sizes.latent_size:
        expected = feature_size(rnn.sizes, cell=sizes.cell)
        check_size(path, "features of", sizes.feature_size, expected)
    check_size(path, "actions of", sizes.action_size, rnn.sizes.action_size)
    shapes = {name: tensor.shape[1:] for name, tensor in tensors.items()}
    if shapes != {"parameters": (sizes.parameter_count,)}:
        raise CheckpointError(path, "does not fit the sizes in its own header")
    return Controllers(sizes, tensors["parameters"].float())


def read_controller_sizes(path: str | Path) -> ControllerSizes:
    """Reads the sizes in the header of C's file; raises CheckpointError like `load_controllers`."""
    return read_checkpoint(path, ControllerSizes)[1]


def read_task(path: str | Path) -> str:
    """Reads which task C plays; raises CheckpointError like `load_controllers`, and where the file
    doesn't say."""
    task = read_controller_sizes(path).task
    if task is None:
        raise CheckpointError(path, "doesn't say of which task it is")
    return task
