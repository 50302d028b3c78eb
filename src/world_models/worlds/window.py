"""A window that shows frames."""

from typing import Any

import numpy as np

from world_models.runtime.errors import WorldModelsError

SCALE = 8
"""Pixels of the window across one of the frame."""


class Window:
    """Shows frames (height, width, 3) of bytes, no faster than they are to be seen."""

    def __init__(self) -> None:
        """Needs a screen; raises WorldModelsError where there is none."""
        import pygame

        try:
            pygame.display.init()
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
