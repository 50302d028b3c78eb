"""Gymnasium's CarRacing: the same physics and the same pixels, several times faster.

Nearly all of its time goes into pictures. Gymnasium transforms and tests each polygon of the whole
field in Python, draws those up to half a screen outside it, and makes two big surfaces and a font
for every frame. Here one numpy expression finds the polygons that touch the visible part of the
screen, only they are drawn, in Gymnasium's own way, and surfaces and font are kept.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pygame
from gymnasium.envs.box2d import car_racing
from gymnasium.envs.box2d.car_racing import (
    GRASS_DIM,
    PLAYFIELD,
    SCALE,
    STATE_H,
    STATE_W,
    WINDOW_H,
    WINDOW_W,
    ZOOM,
)
from pygame import gfxdraw
from pygame.surfarray import pixels2d
from pygame.transform import smoothscale

ENV_ID = "world_models/CarRacing-v3"
"""The id that this module registers with Gymnasium."""

MARGIN = 2
"""Pixels round the visible part within which a polygon still counts, as corners are rounded."""

BAR_H = WINDOW_H // 8
"""Height in pixels of the black status bar, drawn last, over the bottom of the picture."""

VIEW_H = WINDOW_H - BAR_H
"""Height in pixels of what is seen of the field."""

MAX_OMEGA = 390
"""Speed of a wheel, in radians a second, up to which its gauge stays inside the status bar."""

Corners = list[tuple[float, float]]


def _grass() -> list[Corners]:
    """Returns the corners of the lighter patches of grass, in Gymnasium's order and arithmetic."""
    size = GRASS_DIM
    return [
        [
            (size * x + size, size * y),
            (size * x, size * y),
            (size * x, size * y + size),
            (size * x + size, size * y + size),
        ]
        for x in range(-20, 20, 2)
        for y in range(-20, 20, 2)
    ]


FIELD: Corners = [
    (PLAYFIELD, PLAYFIELD),
    (PLAYFIELD, -PLAYFIELD),
    (-PLAYFIELD, -PLAYFIELD),
    (-PLAYFIELD, PLAYFIELD),
]
GRASS = _grass()


class CarRacing(car_racing.CarRacing):
    """Gymnasium's CarRacing-v3, with observations drawn faster and not a pixel different."""

    car: Any
    surf: Any

    def __init__(self, drawn: bool = True, **kwargs: Any) -> None:
        """Takes what Gymnasium's CarRacing takes; observations not drawn are black."""
        super().__init__(**kwargs)
        self._drawn = drawn
        pygame.font.init()
        self._font = pygame.font.Font(pygame.font.get_default_font(), 42)
        self._canvas = pygame.Surface((WINDOW_W, WINDOW_H))
        self._view = self._canvas.subsurface((0, BAR_H, WINDOW_W, VIEW_H))
        self._narrow_view = pygame.Surface((STATE_W, VIEW_H))
        self._dashboard = pygame.Surface((WINDOW_W, WINDOW_H))
        self._bar = self._dashboard.subsurface((0, VIEW_H, WINDOW_W, BAR_H))
        self._narrow = pygame.Surface((STATE_W, WINDOW_H))
        self._narrow_bar = self._narrow.subsurface((0, VIEW_H, STATE_W, BAR_H))
        self._corners = np.empty((2, 4, 0))
        self._colors: list[Any] = []

    def _create_track(self) -> bool:
        """Makes a track, and keeps the corners of all that is drawn on the field.

        They are (2, 4, polygons): x and y, in metres, of each polygon's four corners.
        """
        made: bool = super()._create_track()
        if made:
            polygons = GRASS + [corners for corners, _ in self.road_poly]
            self._corners = np.array(polygons).transpose(2, 1, 0).copy()
            self._colors = [self.grass_color] * len(GRASS) + [color for _, color in self.road_poly]
        return made

    def _render(self, mode: str) -> Any:
        """Draws the observation; leaves other pictures to Gymnasium, which needs few of them."""
        if mode == "state_pixels" and not self._drawn:
            return np.zeros((STATE_H, STATE_W, 3), np.uint8)
        if mode != "state_pixels" or self._gauges_overflow():
            return super()._render(mode)
        # Shrinking works on columns first, then rows. Between the two, turning the picture the
        # right way up and putting the status bar in costs a tenth, and the result is the same.
        self._draw_view()
        smoothscale(self._view, (STATE_W, VIEW_H), self._narrow_view)
        pixels2d(self._narrow)[:, :VIEW_H] = pixels2d(self._narrow_view)[:, ::-1]
        self._draw_bar()
        smoothscale(self._bar, (STATE_W, BAR_H), self._narrow_bar)
        return self._create_image_array(self._narrow, (STATE_W, STATE_H))

    def _gauges_overflow(self) -> bool:
        """Says whether a wheel spins so fast that its gauge grows out of the status bar."""
        return any(wheel.omega > MAX_OMEGA for wheel in self.car.wheels)

    def _draw_view(self) -> None:
        """Draws field, road and car, upside down as Gymnasium does."""
        self.surf = self._canvas
        camera = self._camera()
        self._render_road(*camera)
        self.car.draw(self.surf, *camera, False)

    def _draw_bar(self) -> None:
        """Draws the status bar."""
        self.surf = self._dashboard
        self._render_indicators(WINDOW_W, WINDOW_H)
        self._render_score()

    def _camera(self) -> tuple[float, tuple[float, float], float]:
        """Returns Gymnasium's zoom (pixels a metre), shift (pixels) and turn (radians)."""
        hull = self.car.hull
        angle = -hull.angle
        # The first second zooms in.
        zoom = 0.1 * SCALE * max(1 - self.t, 0) + ZOOM * SCALE * min(self.t, 1)
        scroll = -(hull.position[0]) * zoom, -(hull.position[1]) * zoom
        turned = pygame.math.Vector2(scroll).rotate_rad(angle)
        return zoom, (WINDOW_W / 2 + turned[0], WINDOW_H / 4 + turned[1]), angle

    def _render_road(self, zoom: float, translation: tuple[float, float], angle: float) -> None:
        if self._inside_field(zoom):
            self._view.fill(self.bg_color)
        else:
            self.surf.fill(0)
            field = FIELD, self.bg_color, zoom, translation, angle
            self._draw_colored_polygon(self.surf, *field, clip=False)
        columns, rows = self._to_screen(zoom, translation, angle)
        visible = _visible(columns, rows)
        corners = np.stack([columns[:, visible], rows[:, visible]]).transpose(2, 1, 0).tolist()
        for index, polygon in zip(visible.tolist(), corners, strict=True):
            color = [int(part) for part in self._colors[index]]
            gfxdraw.aapolygon(self.surf, polygon, color)
            gfxdraw.filled_polygon(self.surf, polygon, color)

    def _inside_field(self, zoom: float) -> bool:
        """Says whether the field fills the whole screen, however the car is turned."""
        far_corner = math.hypot(WINDOW_W / 2, WINDOW_H * 3 / 4) + MARGIN
        x, y = self.car.hull.position
        return bool(max(abs(x), abs(y)) + far_corner / zoom < PLAYFIELD)

    def _to_screen(
        self, zoom: float, translation: tuple[float, float], angle: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns all corners' columns and rows, (4, polygons) each, in pixels.

        The order of the operations, and pygame's own cosine and sine, are Gymnasium's: the results
        are equal to the last bit, so they round to the same pixels.
        """
        cos, sin = pygame.math.Vector2(1, 0).rotate_rad(angle)
        x, y = self._corners
        columns = (cos * x - sin * y) * zoom + translation[0]
        rows = (sin * x + cos * y) * zoom + translation[1]
        return columns, rows

    def _render_score(self) -> None:
        text = self._font.render(f"{self.reward:04.0f}", True, (255, 255, 255), (0, 0, 0))
        place = text.get_rect()
        place.center = (60, WINDOW_H - WINDOW_H * 2.5 / 40.0)
        self.surf.blit(text, place)


def _visible(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns the indices of the polygons whose bounding box touches the visible part."""
    touches = (columns.max(0) >= -MARGIN) & (columns.min(0) <= WINDOW_W + MARGIN)
    # The picture is still upside down, so the status bar will hide its first rows.
    touches &= (rows.max(0) >= BAR_H - MARGIN) & (rows.min(0) <= WINDOW_H + MARGIN)
    return np.flatnonzero(touches)


gymnasium.register(ENV_ID, entry_point=CarRacing, max_episode_steps=1000, reward_threshold=900)
