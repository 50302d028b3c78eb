"""How far long work is: a bar on a terminal, plain lines in a log, with rates and what is left."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from tqdm import tqdm

LINE_EVERY_S = 15.0

Item = TypeVar("Item")


class Progress:
    """Counts work done towards a total, and shows it on stderr.

    Used as a context manager; `advance` takes figures to show beside the count. What was `done`
    before counts towards the total, not towards the rate.
    """

    def __init__(self, label: str, total: int, unit: str, done: int = 0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = self._done_before = done
        self._started = self._shown = time.monotonic()
        bar = sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, desc=label, unit=unit) if bar else None

    def __enter__(self) -> "Progress":
        return self

    def advance(self, by: int = 1, figures: Mapping[str, float] | None = None) -> None:
        """Adds to the count; `figures` are shown beside it, with four digits."""
        self.done += by
        figures = figures or {}
        shown = {name: f"{value:.4g}" for name, value in figures.items()}
        if self._bar is not None:
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(by)
        elif self.done >= self.total or time.monotonic() - self._shown >= LINE_EVERY_S:
            self._line(", ".join(f"{name} {value}" for name, value in shown.items()))

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields these, and counts each when the next is asked for."""
        for item in items:
            yield item
            self.advance()

    def _line(self, figures: str) -> None:
        self._shown = time.monotonic()
        seconds = max(self._shown - self._started, 1e-9)
        rate = (self.done - self._done_before) / seconds
        left = tqdm.format_interval((self.total - self.done) / rate)
        print(
            f"{self.label}: {self.done}/{self.total} {self.unit}, {rate:.3g}/s, {left} left"
            + (f"; {figures}" if figures else ""),
            file=sys.stderr,
            flush=True,
        )

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
