"""Files of scores, which are read or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from world_models.runtime.errors import ScoresError

Parsed = TypeVar("Parsed")


def read_scores_file(path: str | Path, parse: Callable[[str], Parsed]) -> Parsed:
    """Returns what `parse` makes of a file of scores; raises ScoresError where it can't."""
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScoresError(path, "missing") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScoresError(path, f"damaged ({type(error).__name__} {error})") from None
