"""How M dreams."""

from typing import Literal

from world_models.runtime.config import Config, Positive

Ends = Literal["likely", "drawn"]


class DreamConfig(Config):
    """How M dreams (paper, section 4)."""

    temperature: Positive = 1.0
    """Tau; over 1 makes the dream less certain than M is."""
    ends: Ends = "likely"
    """When a dreamed episode ends. likely: where M holds that for likely, as in the authors' code;
    drawn: by M's probability."""
