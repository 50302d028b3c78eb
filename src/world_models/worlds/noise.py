"""Random numbers with a stream for each lane, on any device.

A lane's numbers are a pure function of its seed and of how many it has drawn before, so they do
not depend on the lanes beside it. Torch has no generator for each row of a tensor; this is
splitmix64 (Steele, Lea and Flood, 2014) applied to a counter.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_INCREMENT = -0x61C8864680B583EB  # 2^64 / golden ratio, as a signed number
_MIX_1 = -0x40A7B892E31B1A47
_MIX_2 = -0x6B2FB644ECCEEE15
_BITS = 24  # what a float32 holds exactly


class LaneNoise:
    """Streams of uniform and normal numbers, one a lane."""

    def __init__(self, count: int, device: torch.device | str = "cpu") -> None:
        """Makes `count` streams; `seed` begins them."""
        self._keys = torch.zeros(count, dtype=torch.int64, device=device)
        self.drawn = torch.zeros(count, dtype=torch.int64, device=device)
        """How many numbers each lane has drawn."""

    def seed(self, lanes: Tensor, seeds: Sequence[int]) -> None:
        """Starts the streams of these lanes anew; seeds are in [0, 2^63)."""
        starts = torch.tensor(seeds, dtype=torch.int64, device=self._keys.device)
        self._keys[lanes] = _mix(starts + _INCREMENT)
        self.drawn[lanes] = 0

    def seeds(self, lanes: Tensor) -> list[int]:
        """Draws a seed a lane, in [0, 2^31), for an episode that comes after."""
        seeds: list[int] = _shift(self.words(lanes, 1), 33).flatten().tolist()
        return seeds

    def uniform(self, lanes: Tensor, size: int) -> Tensor:
        """Draws `size` numbers a lane, uniform in (0, 1): (lanes, size) float32."""
        return uniform(self.words(lanes, size))

    def normal(self, lanes: Tensor, size: int) -> Tensor:
        """Draws `size` numbers a lane, standard normal: (lanes, size) float32."""
        return normal(self.words(lanes, size))

    def words(self, lanes: Tensor, size: int) -> Tensor:
        """Draws `size` words a lane, 64 random bits each: (lanes, size) int64."""
        words = self.drawn[lanes, None] + torch.arange(size, device=self._keys.device)
        self.drawn[lanes] += size
        return _mix(words.mul_(_INCREMENT).add_(self._keys[lanes, None]))


def uniform(words: Tensor) -> Tensor:
    """Makes a number in (0, 1) out of each word, float32."""
    return _unit(words, 64 - _BITS)


def normal(words: Tensor) -> Tensor:
    """Makes a standard normal number out of each word (Box-Muller), float32."""
    radius = _unit(words, 64 - _BITS).log_().mul_(-2).sqrt_()
    return _unit(words, 64 - 2 * _BITS).mul_(2 * math.pi).cos_().mul_(radius)


def _mix(x: Tensor) -> Tensor:
    """Mixes the bits of each number, in place."""
    for by, factor in ((30, _MIX_1), (27, _MIX_2)):
        x.bitwise_xor_(_shift(x, by)).mul_(factor)
    return x.bitwise_xor_(_shift(x, 31))


def _shift(x: Tensor, by: int) -> Tensor:
    """Logical shift right: torch's own copies the sign."""
    return (x >> by).bitwise_and_((1 << (64 - by)) - 1)


def _unit(words: Tensor, low: int) -> Tensor:
    """The 24 bits of each word from bit `low` on, as a number in (0, 1)."""
    bits = (words >> low).bitwise_and_((1 << _BITS) - 1)
    # The highest number would be rounded up to one.
    return bits.float().add_(0.5).mul_(2.0**-_BITS).clamp_(max=1 - 2.0**-_BITS)
