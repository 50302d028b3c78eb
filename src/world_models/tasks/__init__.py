"""The games, one module each. To add one, add a module with its `TASK`."""

from importlib import import_module
from pkgutil import iter_modules

from world_models.runtime.errors import ConfigError
from world_models.tasks.base import Task

TASKS: dict[str, Task] = {}
"""The tasks that have been asked for, by name."""


def task_names() -> list[str]:
    """Returns the names of all tasks, in alphabetical order."""
    return sorted(name for _, name, _ in iter_modules(__path__) if name != "base")


def get_task(name: str) -> Task:
    """Returns the task called `name`.

    Raises ConfigError, naming the known ones, if there is none, and where its TASK goes by
    another name: its files would be those of that other task.
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
    return task
