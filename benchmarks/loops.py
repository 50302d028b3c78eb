"""Processes that do the same work side by side, as replications spread their rollouts."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch

Piece = Callable[[], int]
"""Does a piece of work; returns how many units that was."""


class Loops:
    """Two processes, one thread each, told when to do their next piece."""

    COUNT = 2

    def __init__(self, make: Callable[[int], Piece]) -> None:
        """`make`, a module's own function, is called with the process's number, from 0."""
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        for number in range(self.COUNT):
            ours, theirs = context.Pipe()
            context.Process(target=_serve, args=(theirs, make, number), daemon=True).start()
            theirs.close()
            self._pipes.append(ours)
        self._answers()  # all of them are ready

    def run(self) -> int:
        """A piece in every process at once; units of all of them."""
        for pipe in self._pipes:
            pipe.send(True)
        return self._answers()

    def close(self) -> None:
        """Ends the processes."""
        for pipe in self._pipes:
            pipe.close()

    def _answers(self) -> int:
        return sum(pipe.recv() for pipe in self._pipes)


def _serve(pipe: Connection, make: Callable[[int], Piece], number: int) -> None:
    torch.set_num_threads(1)
    piece = make(number)
    pipe.send(0)
    try:
        while pipe.recv():
            pipe.send(piece())
    except EOFError:
        pass
