"""Processes that train together come to what one does, also where they go on as another number."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.servers import free_port
from tests.training import mortal
from world_models.runtime.errors import ConfigError
from world_models.training.checkpoint import devices_kept
from world_models.training.ranks import Devices

KINDS = ["vae", "rnn"]


@pytest.fixture(scope="module")
def together(processes, stores):
    """Gives a function that trains in processes: what each reports, or nothing if killed."""

    def together(kind, ranks, state, death=None):
        states = state if isinstance(state, list) else [state] * ranks
        store, port = stores[kind].folder, free_port()
        started = [
            processes.Process(
                target=mortal.run_rank, args=(kind, store, states[rank], rank, ranks, port, death)
            )
            for rank in range(ranks)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join()
        expected = -signal.SIGKILL if death else 0
        assert [process.exitcode for process in started] == [expected] * ranks
        reports = [one.with_name(f"{one.name}-{rank}.json") for rank, one in enumerate(states)]
        return [] if death else [json.loads(report.read_text()) for report in reports]

    return together


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def alone(together, kind, tmp_path_factory):
    """What one process reports."""
    return together(kind, 1, tmp_path_factory.mktemp("alone") / "state")[0]


@pytest.fixture(scope="module")
def both(together, kind, tmp_path_factory):
    """What two report, and the folder of their checkpoint."""
    state = tmp_path_factory.mktemp("both") / "state"
    return together(kind, 2, state), state


def assert_near(logged, expected):
    assert [step for _, step in logged] == [step for _, step in expected]
    for (metrics, _), (wanted, _) in zip(logged, expected, strict=True):
        assert metrics == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_two_processes_have_the_losses_of_one(alone, both):
    (leader, _), _ = both
    assert_near(leader["logged"], alone["logged"])
    assert leader["metrics"] == pytest.approx(alone["metrics"], rel=1e-4, abs=1e-5)


def test_both_end_with_the_same_weights_and_one_alone_logs(both):
    (leader, other), state = both
    assert leader["digest"] == other["digest"]
    assert len(leader["logged"]) >= mortal.BATCHES
    assert other["logged"] == []
    assert [file.name for file in state.iterdir()] == ["last.ckpt"]
    assert devices_kept(state / "last.ckpt") == 2


@pytest.fixture(scope="module")
def killed(together, kind, tmp_path_factory):
    """Gives a function that copies what two processes have left that were killed."""
    state = tmp_path_factory.mktemp("killed") / "state"
    together(kind, 2, state, ("training", 13))
    return lambda to: Path(shutil.copytree(state, to))


def test_two_that_were_killed_end_as_if_they_had_not_been(together, kind, both, killed, tmp_path):
    leader, _ = together(kind, 2, killed(tmp_path / "state"))
    assert leader["digest"] == both[0][0]["digest"]


def after_the_kill(logged):
    return [entry for entry in logged if entry[1] >= mortal.VALIDATE_EVERY]


def test_one_goes_on_where_two_were_killed(together, kind, alone, killed, tmp_path):
    state = killed(tmp_path / "state")
    (report,) = together(kind, 1, state)
    assert_near(report["logged"], after_the_kill(alone["logged"]))
    assert devices_kept(state / "last.ckpt") == 2


def test_two_go_on_where_one_was_killed(together, kind, alone, tmp_path):
    together(kind, 1, tmp_path / "state", ("training", 13))
    leader, _ = together(kind, 2, tmp_path / "state")
    assert_near(leader["logged"], after_the_kill(alone["logged"]))


def test_two_that_see_other_checkpoints_do_not_begin(together, kind, killed, tmp_path):
    killed(tmp_path / "one")
    one, other = together(kind, 2, [tmp_path / "one", tmp_path / "other"])
    assert "would go on after 0 and 8 batches: all machines" in one["error"]
    assert other == one


def test_more_gpus_than_there_are_is_one_line(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    Devices(2).require()
    with pytest.raises(ConfigError, match=r"^machine.devices: 3: this machine has 2$"):
        Devices(3).require()
