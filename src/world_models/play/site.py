"""The playground's page as a folder of files, which any web server can serve."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from world_models.controller.checkpoint import load_controllers, read_task
from world_models.controller.policy import Controllers, weights_and_biases
from world_models.layout import AgentFiles
from world_models.play.networks import decoder_onnx, step_onnx
from world_models.pretrained import CARD
from world_models.rnn.checkpoint import load_rnn
from world_models.rnn.model import MDNRNN
from world_models.runtime.errors import WorldModelsError
from world_models.runtime.files import atomic_write
from world_models.tasks import get_task
from world_models.tasks.base import Control, Task
from world_models.vae.checkpoint import load_vae
from world_models.vae.model import kl_divergence
from world_models.vae.starts import load_starts

WEB = Path(__file__).with_name("web")
"""What the page is made of."""
BUILT = Path(__file__).with_name("static")
"""The page that comes with a wheel."""
PAGE = ("*.html", "*.css", "*.js", "*.svg")
RUNTIME = WEB / "node_modules" / "onnxruntime-web"
"""What runs the networks: other people's, fetched by npm."""
RUNTIME_FILES = (
    *("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    "ort.webgpu.min.mjs",
    *("ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
)


def build(out: Path, agents: Mapping[str, AgentFiles], runtime: Path = RUNTIME) -> None:
    """Writes the page with these agents, by the names that it shows them under.

    A page that is there is replaced. Raises WorldModelsError where the runtime has not been
    fetched, or something else is in the folder, CheckpointError where a file of an agent is missing
    or damaged.
    """
    out = out.resolve()
    if out.exists() and not is_page(out) and (out.is_file() or any(out.iterdir())):
        raise WorldModelsError(f"{out}: holds something else than a page: name another folder")
    if not agents:
        raise WorldModelsError("a page needs an agent: none comes with the package, none is named")
    if not (runtime / "dist").is_dir():
        raise WorldModelsError(f"{runtime}: missing: `npm ci` in {WEB} fetches it")
    with atomic_write(out) as aside:
        aside.mkdir()
        for pattern in PAGE:
            for file in WEB.glob(pattern):
                shutil.copyfile(file, aside / file.name)
        (aside / "runtime").mkdir()
        for name in RUNTIME_FILES:
            shutil.copyfile(runtime / "dist" / name, aside / "runtime" / name)
        for name, files in agents.items():
            write_agent(aside / "agents" / name, files)
        (aside / "agents" / "index.json").write_text(json.dumps(list(agents)))
        # What a server would answer: that it has no games to play.
        (aside / "api").mkdir()
        (aside / "api" / "agents").write_text("[]")


def write_agent(folder: Path, files: AgentFiles) -> None:
    """Writes an agent as the page reads it: two networks, first latents, and what else there is to
    know."""
    task, vae = get_task(read_task(files.controller)), load_vae(files.vae)
    size = vae.sizes.latent_size
    rnn = load_rnn(files.rnn, size, task.action_size)
    starts = load_starts(files.starts, size)
    folder.mkdir(parents=True)
    (folder / "decoder.onnx").write_bytes(decoder_onnx(vae))
    (folder / "step.onnx").write_bytes(step_onnx(rnn, task))
    (folder / "starts.bin").write_bytes(starts.numpy().astype("<f4").tobytes())
    named = {"": files.controller} | files.bred
    controllers = {name: load_controllers(file, rnn) for name, file in named.items()}
    told = described(task, rnn, starts, controllers)
    card = files.controller.with_name(CARD)
    if card.exists():
        shutil.copyfile(card, folder / CARD)
    (folder / "agent.json").write_text(json.dumps(told | {"card": card.exists()}))


def described(
    task: Task, rnn: MDNRNN, starts: Tensor, controllers: Mapping[str, Controllers]
) -> dict[str, Any]:
    """Returns all that the page has to know of an agent beside its networks."""
    sizes = rnn.sizes
    return {
        "task": task.name,
        "latentSize": sizes.latent_size,
        "hiddenSize": sizes.hidden_size,
        "mixtures": sizes.mixtures,
        "doneWeight": sizes.done_weight,
        "timeLimit": task.time_limit,
        "starts": len(starts),
        "order": information(starts).argsort(descending=True).tolist(),
        "controls": of_hand(task),
        "controllers": [of_page(name, one) for name, one in controllers.items()],
    }


def of_hand(task: Task) -> list[dict[str, Any]]:
    """Returns how a person plays a task; its numbers are nameless where the task doesn't say."""
    unnamed = [Control(f"number {i + 1}", None, None) for i in range(task.action_size)]
    return [control._asdict() for control in task.controls or unnamed]


def information(starts: Tensor) -> Tensor:
    """Returns how much each number of z carries, in nats: V's mean KL divergence over first frames
    (S, 2, z) to (z,)."""
    return kl_divergence(*starts.unbind(1)).mean(0)


def of_page(name: str, controllers: Controllers) -> dict[str, Any]:
    """Returns one controller as the page has it, its weights as rows."""
    sizes, layers = controllers.sizes, []
    for weight, bias in weights_and_biases(sizes, controllers.parameters):
        biases = bias[0].tolist() if sizes.bias else torch.zeros(weight.shape[1]).tolist()
        layers.append({"weight": weight[0].tolist(), "bias": biases})
    return {
        "name": name,
        "layers": layers,
        "cell": sizes.cell,
        "temperature": sizes.temperature,
        "ends": sizes.ends,
    }


def is_page(folder: Path) -> bool:
    """Returns whether a folder holds a page that has been built."""
    return (folder / "agents" / "index.json").exists()


def built_page(folder: Path | None = None) -> Path:
    """Returns a folder with a built page: this one, or the package's.

    Raises WorldModelsError where it holds none.
    """
    page = BUILT if folder is None else folder
    if not is_page(page):
        raise WorldModelsError(f"{page}: no page: `make site` builds one, `--page` names it")
    return page
