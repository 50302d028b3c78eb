"""What tests of several rooms share."""

import pytest

from tests.counting import COUNTING
from world_models.tasks import TASKS


@pytest.fixture
def counting(monkeypatch):
    """The counting task, known by its name as long as a test runs."""
    monkeypatch.setitem(TASKS, "counting", COUNTING)
    return COUNTING
