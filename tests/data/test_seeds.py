"""No episode that is scored was ever trained on."""

from itertools import combinations

from world_models.data import seeds


def test_seeds_of_different_purposes_are_disjoint():
    purposes = [value for value in vars(seeds).values() if isinstance(value, range)]
    assert len(purposes) == 5
    for one, other in combinations(purposes, 2):
        assert not range(max(one.start, other.start), min(one.stop, other.stop))


def test_seeds_fit_every_game():
    assert max(seeds.COLLECT.stop, seeds.TEST.stop) < 2**31
