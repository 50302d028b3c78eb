"""Agents in Hugging Face's hub: its own client, in a process of its own, against a small hub."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from tests.agents import write_agent
from tests.hub import TOKEN, Hub, Repository, find, prepare, push, settings
from world_models.agent import Agent
from world_models.layout import AgentFiles
from world_models.pretrained import push_to_hub
from world_models.runtime.errors import CheckpointError, WorldModelsError

NAMES = [file.name for file in AgentFiles.of(Path())]
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@pytest.fixture(scope="module")
def hub():
    """One for all tests, each of which has repositories of its own."""
    one = Hub()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The client's cache."""
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def user(hub, home):
    """Calls a function of tests.hub where the client knows this hub alone."""
    variables = settings(hub, home)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, prepare, (variables,)) as process:
        yield lambda function, *args, **more: process.submit(function, *args, **more).result()


@pytest.fixture
def models(tmp_path):
    """The folder of an agent for Pendulum."""
    write_agent(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def contents(models):
    """Its files by their names."""
    return {name: (models / name).read_bytes() for name in NAMES}


def refusal(call, *args, **more):
    with pytest.raises(WorldModelsError) as caught:
        call(*args, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_agent_is_fetched_and_nothing_else_of_its_repository(hub, user, home, models, contents):
    others = {"pytorch_model.bin": b"a pickle", "more/vae.safetensors": b"", "README.md": b"# It"}
    hub.repositories["me/whole"] = Repository()
    hub.repositories["me/whole"].commit(contents | others)
    files = user(find, "me/whole")
    assert [file.read_bytes() for file in files] == list(contents.values())
    folder = files[0].parent
    assert folder.is_relative_to(home)
    assert sorted(file.name for file in folder.iterdir()) == sorted([*NAMES, "README.md"])
    agent, own = Agent.from_pretrained(folder), Agent.from_pretrained(models)
    assert agent.task.name == "pendulum"
    torch.testing.assert_close(agent.controller.parameters, own.controller.parameters)


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, user, contents):
    repository = hub.repositories["me/revised"] = Repository()
    first = repository.commit(contents)
    repository.refs["v1"] = repository.refs["refs/pr/1"] = first
    repository.commit({"vae.safetensors": b"another"})
    assert user(find, "me/revised")[0].read_bytes() == b"another"
    for revision in ("v1", "refs/pr/1", first):
        assert user(find, f"me/revised@{revision}")[0].read_bytes() == contents["vae.safetensors"]
    said = refusal(user, find, "me/revised@v2")
    assert said == "me/revised@v2: no folder, and Hugging Face's hub has no such revision of it"


def test_a_folder_of_that_name_wins(hub, models, monkeypatch):
    monkeypatch.chdir(models.parent)
    shutil.copytree(models, "me/whole")
    before = len(hub.asked)
    assert find("me/whole") == list(AgentFiles.of(Path("me/whole")))
    assert len(hub.asked) == before


@pytest.mark.parametrize("token", ["", "hf_anothertoken", TOKEN])
def test_a_repository_that_is_not_there_is_named_with_what_to_do(user, token):
    assert refusal(user, find, "me/nothing", token) == (
        "me/nothing: no folder, and Hugging Face's hub has no such repository, or none that you "
        f"may read: look at its name, or {LOG_IN}"
    )


def test_a_private_repository_is_its_owners(hub, user, contents):
    hub.repositories["me/private"] = Repository(private=True)
    hub.repositories["me/private"].commit(contents)
    for token in ("", "hf_anothertoken"):
        said = refusal(user, find, "me/private", token)
        assert "none that you may read" in said
        assert "hf_" not in said
    assert len(user(find, "me/private", TOKEN)) == 4


@pytest.mark.parametrize("call", [partial(find, "me/nothing"), partial(push, repo="me/leak")])
@pytest.mark.parametrize("token", ["hf_a\vsecret", "hf_a…secret"])
def test_a_token_that_can_not_be_sent_is_not_shown(user, models, call, token):
    """The client's own error does."""
    arguments = (models,) if call.func is push else ()
    said = refusal(user, call, *arguments, token=token)
    assert "secret" not in said
    assert said.endswith("look at the connection, and at HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN")


def test_files_that_a_repository_lacks_are_named(hub, user, contents):
    repository = hub.repositories["me/part"] = Repository()
    del contents["rnn.safetensors"], contents["starts.safetensors"]
    repository.commit(contents)
    lacks = "it lacks rnn.safetensors, starts.safetensors"
    assert refusal(user, find, "me/part") == f"me/part: no agent: in Hugging Face's hub {lacks}"


def test_what_was_fetched_is_there_when_the_hub_is_not(hub, user, models, contents):
    hub.repositories["me/kept"] = Repository()
    hub.repositories["me/kept"].commit(contents)
    kept = user(find, "me/kept")
    with hub.gone():
        assert user(find, "me/kept") == kept
        silent = "Hugging Face's hub doesn't answer as it should (ConnectError): look at "
        silent += "the connection, and at HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN"
        assert refusal(user, find, "me/new") == f"me/new: no folder, and {silent}"
        assert refusal(user, push, models, "me/new") == f"me/new: {silent}"


def test_a_hub_in_trouble_is_to_be_asked_later(hub, user, models, monkeypatch):
    monkeypatch.setattr(hub, "status", 503)
    later = "Hugging Face's hub answers 503: try again later"
    assert refusal(user, find, "me/later") == f"me/later: no folder, and {later}"
    assert refusal(user, push, models, "me/later") == f"me/later: {later}"


def test_a_cache_that_can_not_be_written_is_told(hub, user, home, contents):
    hub.repositories["me/blocked"] = Repository()
    hub.repositories["me/blocked"].commit(contents)
    (home / "hub").mkdir(exist_ok=True)
    (home / "hub" / "models--me--blocked").touch()  # where a folder has to be
    said = refusal(user, find, "me/blocked")
    assert said == "me/blocked: no folder, and huggingface_hub stops: Not a directory"


def test_what_is_pushed_is_fetched_again_to_the_bit(hub, user, models, contents):
    assert user(push, models, "me/pushed") == f"{hub.uri}/me/pushed"
    files = user(find, "me/pushed")
    assert [file.read_bytes() for file in files] == list(contents.values())
    card = (files[0].parent / "README.md").read_text()
    assert 'Agent.from_pretrained("me/pushed")' in card
    assert "tags: [world-models, reinforcement-learning, pendulum]" in card
    assert not hub.repositories["me/pushed"].private


def test_its_card_goes_with_it_and_says_how_this_one_is_loaded(hub, user, models):
    card = '# Pendulum\n\nagent = Agent.from_pretrained("{}")\n\n± 3\n'
    (models / "card.md").write_text(card.format("pendulum"))
    user(push, models, "me/carded")
    files = user(find, "me/carded")
    assert (files[0].parent / "README.md").read_text() == card.format("me/carded")
    user(push, files[0].parent, "you/carded")  # from one repository to another
    (commit,) = list(hub.repositories["you/carded"].commits.values())[1:]
    assert commit["README.md"].decode() == card.format("you/carded")


def test_a_second_push_is_one_commit_more(hub, user, models):
    user(push, models, "me/again")
    (models / "card.md").write_text("# Another")
    user(push, models, "me/again")
    *_, before, last = hub.repositories["me/again"].commits.values()
    assert last == before | {"README.md": b"# Another"}
    assert len(hub.repositories["me/again"].commits) == 3  # the first is the hub's own


def test_a_private_agent_is_never_put_where_all_can_read_it(hub, user, models):
    user(push, models, "me/secret", private=True)
    assert hub.repositories["me/secret"].private
    hub.repositories["me/open"] = Repository()
    first = hub.repositories["me/open"].commit({"README.md": b"# Open"})
    said = refusal(user, push, models, "me/open", private=True)
    assert said == "me/open: is there already, and public: change its settings"
    assert list(hub.repositories["me/open"].commits) == [first]


@pytest.mark.parametrize(
    ("repo", "token"), [("me/unknown", ""), ("me/unknown", "hf_other"), ("another/agent", TOKEN)]
)
def test_who_may_not_write_is_told_what_to_do(hub, user, models, repo, token):
    said = refusal(user, push, models, repo, token=token)
    refused = "Hugging Face's hub doesn't let you write there: look at its name, and"
    assert said == f"{repo}: {refused} {LOG_IN}"
    assert repo not in hub.repositories


@pytest.mark.parametrize("repo", ["agent", "me/agent@v1", "me/an/agent", "/agent"])
def test_what_is_no_repositorys_name_is_not_pushed_to(models, repo):
    said = refusal(push_to_hub, models, repo)
    assert said == f"{repo}: no repository's name: it is owner/name"


def test_half_an_agent_is_not_pushed(hub, user, models):
    (models / "starts.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"starts\.safetensors: missing"):
        user(push, models, "me/half")
    assert "me/half" not in hub.repositories


def test_without_the_client_one_line_says_how_to_come_by_it(tmp_path):
    absent = "import sys; sys.modules['huggingface_hub'] = None"
    code = f"{absent}; from world_models.pretrained import located; located('me/it').__enter__()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].endswith(
        "me/it: no folder, and Hugging Face's hub needs an extra: "
        "pip install 'world-models-vmc[hub]'"
    )


def test_the_command_line_pushes_and_says_where(hub, home, models, contents):
    command = [sys.executable, "-m", "world_models.cli", "push", "pendulum", "me/typed"]
    command += ["--models", str(models), "--private"]
    for token, code, said in ((TOKEN, 0, f"{hub.uri}/me/typed\n"), ("hf_other", 1, "")):
        done = subprocess.run(
            command,
            env=os.environ | settings(hub, home) | {"HF_TOKEN": token},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (code, said)
        assert token not in done.stderr
    assert done.stderr.startswith(
        "world-models: me/typed: Hugging Face's hub doesn't let you write"
    )
    assert done.stderr.count("\n") == 1
    repository = hub.repositories["me/typed"]
    assert contents.items() <= repository.commits[repository.refs["main"]].items()
