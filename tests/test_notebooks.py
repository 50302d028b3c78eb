"""The notebook does what it says, from the first cell to the last."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "quickstart.ipynb"
LESS = {"TEMPERATURES": "[0.1, 1.5]", "SECONDS": "1", "EPISODES": "1"}
"""What of its settings a test makes less of."""


def shortened(notebook):
    """The same with less to do."""
    (settings,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    for name, value in LESS.items():
        line = rf"^{name} = [^#\n]*"
        settings.source, found = re.subn(line, f"{name} = {value} ", settings.source, flags=re.M)
        assert found == 1, name
    return notebook


def printed(cell):
    return "".join(output.get("text", "") for output in cell.get("outputs", ()))


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    notebook = shortened(nbformat.read(NOTEBOOK, as_version=4))
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
    return notebook


def test_it_shows_a_dream(executed):
    pictures = [
        output.data["image/gif"]
        for cell in executed.cells
        for output in cell.get("outputs", ())
        if "image/gif" in output.get("data", {})
    ]
    assert len(pictures) == 1


def test_a_hot_dream_is_harder_than_a_cold_one(executed):
    (said,) = (text for cell in executed.cells if "tau" in (text := printed(cell)))
    cold, hot = map(int, re.findall(r"^tau .*: (\d+) steps$", said, re.M))
    assert cold > hot > 0


def test_both_agents_are_scored_in_the_game(executed):
    said = printed(executed.cells[-2])
    assert len(re.findall(r"^(C|PPO), .*: +\d+ steps$", said, re.M)) == 2


def test_it_is_committed_without_what_a_run_of_it_showed():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
