"""A window that shows frames, and games that are drawn without one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from world_models.runtime.errors import WorldModelsError

SCALE = 8
"""Pixels of the window across one of the frame."""
DRIVER = "SDL_VIDEODRIVER"
"""By this environment variable SDL is told on what it shows its windows."""
UNSEEN = ("dummy", "offscreen")
"""Those of its drivers that show nothing."""


@contextmanager
def off_screen() -> Iterator[None]:
    """Has games that start pygame's display in the block do without a screen.

    Gymnasium's start it for pictures that no window shows, too. It is taken away at the end, for
    who opens a window later, unless a game draws on it. Only for one thread at a time.
    """
    asked, before = os.environ.get(DRIVER), _display()
    os.environ[DRIVER] = "dummy"
    try:
        yield
    finally:
        if asked is None:
            del os.environ[DRIVER]
        else:
            os.environ[DRIVER] = asked
        if before is None and (display := _display()) and display.get_surface() is None:
            display.quit()


@contextmanager
def pygame_kept() -> Iterator[None]:
    """Has games that close in the block leave pygame as it is.

    Gymnasium's quit it, and with it the fonts of other games and the window. A display that such a
    game has drawn on stays, too. Only for one thread at a time.
    """
    pygame = sys.modules.get("pygame")
    if pygame is None:
        yield
        return
    quits = pygame.quit, pygame.display.quit
    pygame.quit = pygame.display.quit = lambda: None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        pygame.quit, pygame.display.quit = quits  # type: ignore[attr-defined]


def _display() -> Any:
    """Pygame's display, if it has been started."""
    pygame = sys.modules.get("pygame")
    return pygame.display if pygame and pygame.display.get_init() else None


class Window:
    """Shows frames (height, width, 3) of bytes, no faster than they are to be seen."""

    def __init__(self) -> None:
        """Needs a screen; raises WorldModelsError where there is none."""
        import pygame

        try:
            pygame.display.init()
            if DRIVER not in os.environ and pygame.display.get_driver() in UNSEEN:
                pygame.display.quit()
                raise pygame.error("SDL has found none")
        except pygame.error as error:
            raise WorldModelsError(
                f"no screen for a window ({error}); render_mode='rgb_array' needs none"
            ) from None
        self._pygame, self._clock = pygame, pygame.time.Clock()
        self._screen: Any = None

    def show(self, frame: np.ndarray, frames_a_second: int) -> None:
        """Shows a frame for its time."""
        pygame = self._pygame
        size = frame.shape[1] * SCALE, frame.shape[0] * SCALE
        if self._screen is None:
            self._screen = pygame.display.set_mode(size)
        picture = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
        pygame.transform.scale(picture, size, self._screen)
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(frames_a_second)

    def close(self) -> None:
        """Takes the window away."""
        self._pygame.display.quit()
