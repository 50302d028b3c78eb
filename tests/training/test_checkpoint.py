"""A training that was killed ends as if it had not been, to the last bit."""

import pathlib
import signal

import pytest
import torch

from tests.training import mortal
from world_models.training.checkpoint import batches_kept

DEATHS = [
    ([("training", 3)], 0),
    ([("writing", 8)], 0),
    ([("validated", 8)], 8),
    ([("validating", 16)], 8),
    ([("writing", 16)], 8),
    ([("training", 18)], 16),
    ([("writing", 20)], 16),
    ([("trained", 20)], 20),
    ([("training", 5), ("training", 10), ("validating", 16), ("training", 19)], 16),
]
"""When a training is killed, and the batches of the checkpoint that is there then."""


@pytest.fixture(autouse=True)
def one_thread():
    """Bits depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def run(processes, stores):
    """Gives a function that trains in a process of its own: the digest, None if it was killed."""

    def run(kind, state, death=None):
        process = processes.Process(
            target=mortal.run, args=(kind, stores[kind].folder, state, death)
        )
        process.start()
        process.join()
        if death:
            assert process.exitcode == -signal.SIGKILL
            assert not state.with_suffix(".digest").exists()
            return None
        assert process.exitcode == 0
        return state.with_suffix(".digest").read_text()

    return run


@pytest.fixture(scope="module")
def undisturbed(run, tmp_path_factory):
    """What each training comes to."""
    return {kind: run(kind, tmp_path_factory.mktemp(kind) / "state") for kind in ("vae", "rnn")}


@pytest.mark.parametrize("kind", ["vae", "rnn"])
@pytest.mark.parametrize(("deaths", "kept"), DEATHS, ids=str)
def test_a_training_that_was_killed_ends_as_if_it_had_not_been(
    run, undisturbed, tmp_path, kind, deaths, kept
):
    state = tmp_path / "state"
    for death in deaths:
        run(kind, state, death)
    assert batches_kept(state / "last.ckpt") == kept
    assert run(kind, state) == undisturbed[kind]
    assert [path.name for path in state.iterdir()] == ["last.ckpt"]


@pytest.fixture(params=["vae", "rnn"])
def kind(request):
    return request.param


@pytest.fixture
def trained(kind, stores, tmp_path):
    """Trains the kind in a folder of its own, as often as it is called."""

    def train(**more):
        return mortal.train(kind, stores[kind], tmp_path / "state", **more)

    return train


def test_what_has_ended_is_returned_again_without_training(kind, trained, monkeypatch):
    first = mortal.digest(*trained())

    def training_step(*_):
        raise AssertionError("trains")

    monkeypatch.setattr(mortal.Mortal, "training_step", training_step)
    assert mortal.digest(*trained()) == first


@pytest.mark.parametrize("death", [("training", 13), ("trained", 20)], ids=str)
def test_a_damaged_checkpoint_is_not_believed(
    run, undisturbed, kind, trained, tmp_path, capsys, death
):
    run(kind, tmp_path / "state", death)
    kept = tmp_path / "state" / "last.ckpt"
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    assert mortal.digest(*trained()) == undisturbed[kind]
    told = [line for line in capsys.readouterr().err.splitlines() if "last.ckpt" in line]
    assert told == [f"{kept}: damaged: the training starts over"]


@pytest.mark.parametrize("at", [0, 10, 0.3, 0.999])
def test_a_checkpoint_that_was_cut_short_is_not_believed(stores, tmp_path, capsys, at):
    mortal.train("rnn", stores["rnn"], tmp_path)
    kept = tmp_path / "last.ckpt"
    whole = kept.read_bytes()
    kept.write_bytes(whole[: at if isinstance(at, int) else int(at * len(whole))])
    capsys.readouterr()
    assert batches_kept(kept) == 0
    assert capsys.readouterr().err == f"{kept}: damaged: the training starts over\n"
    assert not kept.exists()


def test_a_checkpoint_whose_contents_lie_before_its_begin_is_not_believed(tmp_path, capsys):
    """Of such a place the system says that it is no argument."""
    kept = tmp_path / "last.ckpt"
    torch.save({"global_step": 3}, kept)
    content = bytearray(kept.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    content[end - 28] ^= 1  # where the list of files begins
    kept.write_bytes(content)
    assert batches_kept(kept) == 0
    assert "damaged" in capsys.readouterr().err
    assert not kept.exists()


def test_a_checkpoint_that_can_not_be_read_is_kept(tmp_path, monkeypatch):
    """It may be whole: another user's, or on a disk that doesn't answer."""
    kept = tmp_path / "last.ckpt"
    kept.write_bytes(b"")

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(kept))

    monkeypatch.setattr("zipfile.ZipFile", refuse)
    with pytest.raises(PermissionError):
        batches_kept(kept)
    assert kept.exists()


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    kept = tmp_path / "last.ckpt"
    torch.save({"global_step": 3, "bomb": Bomb(tmp_path / "went-off")}, kept)
    assert batches_kept(kept) == 0
    assert not (tmp_path / "went-off").exists()
    assert "damaged" in capsys.readouterr().err


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def test_log_and_progress_go_on_at_the_same_batches(run, stores, tmp_path, capsys):
    whole, rest = [], []
    mortal.train("rnn", stores["rnn"], tmp_path / "whole", log=lambda *entry: whole.append(entry))
    run("rnn", tmp_path / "killed", ("training", 10))
    mortal.train("rnn", stores["rnn"], tmp_path / "killed", log=lambda *entry: rest.append(entry))
    assert rest == [(metrics, batch) for metrics, batch in whole if batch >= mortal.VALIDATE_EVERY]
    assert "train/loss" in rest[-1][0]
    assert "test: 20/20 batches" in capsys.readouterr().err.splitlines()[-1]
