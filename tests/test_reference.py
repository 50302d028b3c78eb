"""The parameters on paper: complete, up to date, and as a user may copy them."""

import pytest
import yaml

from tests.configs import PARAMS, smoke
from world_models.params import GENERAL, SECTIONS, Params
from world_models.reference import in_force, reference, shown
from world_models.tasks import task_names


def test_every_parameter_is_explained_and_so_is_its_section():
    for kind in [*SECTIONS.values(), *GENERAL.values()]:
        assert kind.__doc__
        for name, field in kind.model_fields.items():
            assert field.description, f"{kind.__name__}.{name}"
            assert f"| `{name}` | " in reference()


def test_the_reference_is_up_to_date():
    """`make reference` writes it."""
    page = PARAMS.parent / "docs" / "reference" / "parameters.md"
    assert page.read_text() == reference()


@pytest.mark.parametrize("task", task_names())
@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_shown_of_a_value_can_be_written(task, section):
    """The reference and `world-models params` show what a user may copy."""
    values = smoke(section, task).model_dump()
    written = yaml.safe_load("\n".join(f"{name}: {shown(value)}" for name, value in values.items()))
    assert smoke(section, task, **written) == smoke(section, task)


def test_a_later_rounds_seed_is_shown_as_the_file_has_it():
    """What its stages draw from is another number, made of this one."""
    (seed,) = (
        value for name, value, *_ in in_force(Params(PARAMS, "carracing-2")) if name == "seed"
    )
    assert int(seed) == yaml.safe_load(PARAMS.read_text())["seed"]


def test_a_small_number_is_shown_with_the_dot_that_yaml_wants():
    assert [shown(value) for value in (1e-5, 1.5e-7, 0.5, 3, None, True)] == [
        *("1.0e-05", "1.5e-07", "0.5", "3", "none", "true"),
    ]
