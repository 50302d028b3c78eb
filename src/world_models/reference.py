"""The parameters on paper: a page of all there are, and a table of those in force."""

from collections.abc import Iterator

from world_models.params import GENERAL, PARAMS, SECTIONS, Params
from world_models.tasks import get_task, task_names

REFERENCE = """# Parameters

Made by `world-models params --reference` from the configs beside the code.

A value comes from the first of these that has it:

1. the block that a later round names as its `settings`
2. what the scale says of the game
3. what the scale says of all games
4. the game's own value in the paper
5. the default, which both of the paper's games share

`world-models params carracing` prints the values in force, where each comes from, and how to set
it.
"""


def in_force(params: Params) -> list[tuple[str, str, str, str]]:
    """Returns a row a parameter: its name, its value, where that comes from, and how to set it."""
    rows = [("parameter", "value", "from", "set it with")]
    rows += general(params)
    for section, kind in SECTIONS.items():
        values, origins = params.section(kind).model_dump(), params.origins(section)
        for name, value in values.items():
            key = f"{params.scale}.{params.settings}.{section}"
            plus = "" if origins[name] == key else "+"
            set_with = f"-S {plus}{key}.{name}=…"
            rows.append((f"{section}.{name}", shown(value), origins[name], set_with))
    return rows


def general(params: Params) -> Iterator[tuple[str, str, str, str]]:
    """Yields the same rows of what is the same at every scale."""
    for name, value in {"scale": params.scale, "seed": params.base_seed}.items():
        yield name, shown(value), PARAMS.name, f"-S {name}=…"
    for section, kind in GENERAL.items():
        config = params.general(kind)
        for field, value in config.model_dump().items():
            name, is_there = f"{section}.{field}", field in config.model_fields_set
            origin, plus = (PARAMS.name, "") if is_there else ("the default", "+")
            yield name, shown(value), origin, f"-S {plus}{name}=…"


def reference() -> str:
    """Returns a page of all parameters in Markdown: meaning, default and type of each."""
    lines = [REFERENCE]
    for name, kind in (SECTIONS | GENERAL).items():
        lines += [f"## {name}\n", f"{' '.join((kind.__doc__ or '').split())}\n"]
        lines += ["| parameter | default | what it is |", "|---|---|---|"]
        games = {task: get_task(task).paper.get(name, {}) for task in task_names()}
        for field, info in kind.model_fields.items():
            default = "" if info.is_required() else _code(info.get_default())
            own = [f"{task}: {_code(of[field])}" for task, of in games.items() if field in of]
            defaults = "<br>".join(filter(None, [default, *own]))
            lines.append(
                f"| `{field}` | {defaults} | {' '.join((info.description or '').split())} |"
            )
        lines.append("")
    return "\n".join(lines)


def shown(value: object) -> str:
    """Returns a value as it is written in params.yaml."""
    text = str(value).lower() if value is None or isinstance(value, bool) else str(value)
    # YAML takes an exponent without a dot for text.
    return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text


def _code(value: object) -> str:
    return f"`{shown(value)}`"
