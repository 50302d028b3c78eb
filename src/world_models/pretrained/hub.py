"""Files in repositories of Hugging Face's hub.

Its client keeps what it has fetched in a cache of its own, and finds the user's token by itself.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from world_models.runtime.errors import ExtraError, WorldModelsError

HUB = "Hugging Face's hub"
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def download(repo: str, revision: str | None, names: Collection[str]) -> Path:
    """Fetches the files of a repository that have these names, and no others.

    Returns their folder in the client's cache. Where the hub doesn't answer, or refuses, those of
    the last time are taken. Raises WorldModelsError without any.
    """
    named = f"{repo}@{revision}" if revision else repo
    refused = f"has no such repository, or none that you may read: look at its name, or {LOG_IN}"
    with _one_line(f"{named}: no folder, and", refused):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(names)))


def upload(repo: str, files: Mapping[str, Path | bytes], private: bool) -> str:
    """Writes files to a repository, all in one commit, and returns its address.

    Makes the repository where there is none. Raises WorldModelsError where that can't be done, and
    before anything is written where `private` is asked of one that is there and is not.
    """
    refused = f"doesn't let you write there: look at its name, and {LOG_IN}"
    with _one_line(f"{repo}:", refused):
        from huggingface_hub import CommitOperationAdd, HfApi

        hub = HfApi()
        # None, not False: an organization may keep its own private unless told otherwise.
        address = hub.create_repo(repo, private=private or None, exist_ok=True)
        if private and not hub.model_info(repo).private:
            raise WorldModelsError(f"{repo}: is there already, and public: change its settings")
        additions = [CommitOperationAdd(name, contents) for name, contents in files.items()]
        hub.create_commit(repo, additions, commit_message="Upload an agent")
        return str(address)


@contextmanager
def _one_line(about: str, refused: str) -> Iterator[None]:
    """Makes one line of whatever the client raises, for its errors have no base of their own.

    None of the words are the client's: they may show a token.
    """
    try:
        yield
    except WorldModelsError:
        raise
    except ModuleNotFoundError:
        raise ExtraError(f"{about} {HUB}", "hub") from None
    except Exception as error:
        raise WorldModelsError(f"{about} {_fault(error, refused)}") from None


def _fault(error: Exception, refused: str) -> str:
    """What is wrong, and what to do about it."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionNotFoundError

    if isinstance(error, OSError) and error.strerror:  # of the disk
        return f"huggingface_hub stops: {error.strerror}"
    if isinstance(error, RevisionNotFoundError):
        return f"{HUB} has no such revision of it"
    answers = (one.response for one in _causes(error) if isinstance(one, HfHubHTTPError))
    status = next((answer.status_code for answer in answers), None)
    if status in (401, 403, 404) or isinstance(error, HFValidationError):
        return f"{HUB} {refused}"
    if status is not None:
        return f"{HUB} answers {status}: try again later"
    kind = type(error.__cause__ or error).__name__
    settings = "HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN"
    return f"{HUB} doesn't answer as it should ({kind}): look at the connection, and at {settings}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__
