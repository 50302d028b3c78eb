"""Writes docs/reference/stages.md: what dvc.yaml and the stages' own files say of each stage.

`python docs/stages.py` prints it; `make reference` writes it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CODE = ("pipelines/", "src/world_models/")
WORDS = {
    "${key}": "ROUND",
    "${item.round}": "ROUND",
    "${item.task}": "GAME",
    "${item.after}": "BEFORE",
    "${item.settings}": "SETTINGS",
    "${scale}": "SCALE",
    "${item.dreamed_by}-${item.temperature}": "DREAMER-TEMPERATURE",
    "${item.inputs}": "INPUTS",
}
"""What stands in dvc.yaml, and what a reader sees."""
FIRST_WORDS = """# Stages and files

Made by `python docs/stages.py` from `dvc.yaml` and `pipelines/`.

ROUND is one of `rounds` in `params.yaml`. A game's first round has its name: `carracing`. BEFORE is
the round that it goes on from, or `nothing`. GAME is the round's game, SCALE the scale in force,
and SETTINGS the round's block of parameters.

A stage runs again where one of its parameters has changed, or a byte of what it reads or of its
code. DVC keeps the files under `data/`, `models/`, `exports/` and `sweeps/`, and films and pictures
under `reports/`. The tables and scores there are in git, and all of `reports/results/`.
"""


def page() -> str:
    """Returns the page in Markdown."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    parts = [FIRST_WORDS, *(section(name, stage) for name, stage in stages.items())]
    return "\n".join(parts)


def section(name: str, stage: dict[str, Any]) -> str:
    """Returns what there is to say of a stage."""
    body = stage.get("do", stage)
    module = body["cmd"].split()[2]
    rows = [
        ("runs", f"`{readable(body['cmd'])}`, {once_a(stage)}"),
        ("reads", listed(path for path in body["deps"] if not path.startswith(CODE))),
        ("parameters", listed(body.get("params", ()))),
        ("code", listed(path for path in body["deps"] if path.startswith(CODE))),
        ("writes", listed(written(body))),
    ]
    table = "\n".join(f"| {title} | {cells} |" for title, cells in rows if cells)
    return f"## {name}\n\n{said(module)}\n\n| | |\n|---|---|\n{table}\n"


def said(module: str) -> str:
    """Returns what a stage's module says that it is."""
    text = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    first, *_ = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")
    _, _, words = " ".join(first.split()).partition(": ")
    return words[0].upper() + words[1:]


def once_a(stage: dict[str, Any]) -> str:
    """Returns how often a stage runs."""
    if "foreach" in stage:
        return "once a round"
    return f"once for each {', '.join(stage['matrix'])}" if "matrix" in stage else "once"


def written(body: dict[str, Any]) -> Iterator[str]:
    """Yields the paths of what a stage writes."""
    for kind in ("outs", "metrics", "plots"):
        for entry in body.get(kind, ()):
            yield entry if isinstance(entry, str) else next(iter(entry))


def listed(paths: Any) -> str:
    """Returns paths in a cell of a table."""
    return "<br>".join(f"`{readable(path)}`" for path in paths)


def readable(text: str) -> str:
    """Returns a text of dvc.yaml with words in place of its variables."""
    for variable in sorted(WORDS, key=len, reverse=True):
        text = text.replace(variable, WORDS[variable])
    return text


if __name__ == "__main__":
    print(page(), end="")
