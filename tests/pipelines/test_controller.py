"""What the stage `controller` says of a search that is going on."""

import numpy as np
import torch

from pipelines.controller import warn_if_fooled
from world_models.controller.policy import Controllers, ControllerSizes
from world_models.controller.search import Generation, Validation
from world_models.worlds.rollout import Played

SIZES = ControllerSizes(2, 1, bias=True, cell=False)
NOBODY = Controllers(SIZES, torch.zeros(1, SIZES.parameter_count))


def a_generation(number, real=None, dream=None):
    lengths = np.ones((1, 4), int)
    played = [Played(np.array([of]), lengths) for of in (real, dream) if of is not None]
    validation = Validation(*played) if played else None
    return Generation(number, np.zeros(4), 0.1, 100, NOBODY, validation)


def test_a_generation_that_the_dream_fools_is_named_with_the_one_it_fell_from(capsys):
    history = [
        a_generation(1, real=[500, 510, 500, 510], dream=[900, 900, 900, 900]),
        a_generation(2),
        a_generation(3, real=[400, 410, 400, 410], dream=[950, 950, 950, 950]),
    ]
    warn_if_fooled(history, a_generation(4, real=[300, 300, 310, 310], dream=[990] * 4))
    assert capsys.readouterr().err == (
        "controller: generation 4 is fooled by the dream: since 1 it rose there from 900 to 990, "
        "and fell in the game from 505 to 305\n"
    )


def test_nothing_is_said_before_two_were_judged_nor_where_both_rise(capsys):
    judged = a_generation(1, real=[500, 510, 500, 510], dream=[900] * 4)
    warn_if_fooled([], judged)
    warn_if_fooled([a_generation(1)], judged)
    warn_if_fooled([judged], a_generation(2))
    warn_if_fooled([judged], a_generation(2, real=[600, 610, 600, 610], dream=[990] * 4))
    assert capsys.readouterr().err == ""
