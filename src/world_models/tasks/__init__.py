"""The games, one module each. To add one, add a module with its `TASK`."""

import pickle
from importlib import import_module
from pkgutil import iter_modules

from world_models.runtime.errors import ConfigError, one_line
from world_models.tasks.base import Task

TASKS: dict[str, Task] = {}
"""The tasks that have been asked for, by name."""


def task_names() -> list[str]:
    """Returns the names of all tasks, in alphabetical order."""
    return sorted(name for _, name, _ in iter_modules(__path__) if name != "base")


def get_task(name: str) -> Task:
    """Returns the task called `name`.

    Raises ConfigError, naming the known ones, if there is none; where its TASK goes by another
    name, as its files would be those of that other task; and where it can't be sent to another
    process.
    """
    if name not in TASKS:
        TASKS[name] = _load(name)
    return TASKS[name]


def _load(name: str) -> Task:
    if name not in task_names():
        raise ConfigError(f"unknown task {name!r}; known tasks: {', '.join(task_names())}")
    task: Task | None = getattr(import_module(f"{__name__}.{name}"), "TASK", None)
    if task is None or task.name != name:
        raise ConfigError(f"tasks/{name}.py: needs a TASK with name={name!r}")
    try:
        pickle.dumps(task)
    except Exception as error:  # whatever its parts raise
        fault = f"TASK can't be sent to a worker: use functions with a name ({one_line(error)})"
        raise ConfigError(f"tasks/{name}.py: {fault}") from None
    return task
