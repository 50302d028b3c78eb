"""The games, one module each. To add one, add a module with its `TASK`."""

from importlib import import_module
from pkgutil import iter_modules

from world_models.errors import ConfigError
from world_models.task import Task

TASKS: dict[str, Task] = {
    module.name: import_module(f"{__name__}.{module.name}").TASK
    for module in iter_modules(__path__)
}
"""Every task, by name."""


def get_task(name: str) -> Task:
    """Return the task called `name`; a ConfigError names the known ones if there is none."""
    if name not in TASKS:
        raise ConfigError(f"unknown task {name!r}; known tasks: {', '.join(sorted(TASKS))}")
    return TASKS[name]
