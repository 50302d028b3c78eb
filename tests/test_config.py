"""params.yaml: what is committed is valid, and what is wrong is named in one line."""

from pathlib import Path

import pytest
import yaml

from tests.configs import smoke
from world_models.config import (
    STAGES,
    SWEEPS,
    CollectConfig,
    ControllerConfig,
    DreamConfig,
    Params,
    RNNConfig,
    TemperatureConfig,
    VAEConfig,
)
from world_models.errors import ConfigError

COMMITTED = Path(__file__).parents[1] / "params.yaml"
CONTENTS = yaml.safe_load(COMMITTED.read_text())
SCALES = ["smoke", "small", "full", "paper"]


@pytest.fixture
def changed(tmp_path):
    """Give a function that writes params.yaml with one value changed, and reads it."""

    def write(dotted, value, task="carracing", remove=False):
        contents = dict(CONTENTS)
        *path, last = dotted.split(".")
        place = contents
        for key in path:
            place[key] = dict(place[key])  # YAML's aliases are one object
            place = place[key]
        if remove:
            del place[last]
        else:
            place[last] = value
        (tmp_path / "params.yaml").write_text(yaml.dump(contents, Dumper=yaml.CSafeDumper))
        return Params(tmp_path / "params.yaml", task)

    return write


def message(kind, read, *arguments):
    """The one line that a wrong parameter is refused with."""
    with pytest.raises(ConfigError) as caught:
        read(*arguments).section(kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("task", ["carracing", "takecover", "pendulum"])
def test_the_committed_parameters_are_valid_at_every_scale(changed, scale, task):
    params = changed("scale", scale, task)
    assert params.scale == scale
    for stage, kind in STAGES.items():
        assert type(params.section(kind)) is STAGES[stage]
    for kind in (VAEConfig, RNNConfig):
        training = params.section(kind)
        assert training.batches % training.validate_every == 0  # the last weights are validated


def test_the_committed_file_is_at_the_default_scale_for_both_of_the_papers_tasks():
    assert CONTENTS["scale"] == "small"
    assert CONTENTS["tasks"] == ["carracing", "takecover"]
    assert set(CONTENTS) == {"scale", "tasks", "rounds", "seed", "temperature", "ablation", *SCALES}


def test_the_sweeps_are_the_papers_and_off(changed):
    params = changed("seed", 1)
    assert params.sweep(TemperatureConfig).taus == [0.10, 0.50, 1.00, 1.15, 1.30]
    assert [params.sweep(kind).tasks for kind in SWEEPS.values()] == [[], []]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("temperature.taus", [], "temperature.taus"),
        ("temperature.taus", [0.5, 0], "temperature.taus.1"),
        ("temperature.taus", [1.0, 0.5, 1], "temperature.taus: Value error, one of them is there"),
        ("temperature.tasks", "takecover", "temperature.tasks"),
        ("ablation.task", ["carracing"], "ablation.task"),
    ],
)
def test_a_sweep_that_is_wrong_is_named_by_every_stage(changed, key, value, said):
    assert message(VAEConfig, changed, key, value).startswith(f"params.yaml: {said}")


def test_a_variant_has_other_values_and_leaves_the_tasks_own_alone(changed):
    params = changed("seed", 1)
    other = params.changed({"dream": {"temperature": 0.3}, "controller": {"inputs": "latent"}})
    assert other.section(DreamConfig).temperature == 0.3
    assert other.section(ControllerConfig).inputs == "latent"
    assert other.section(VAEConfig) == params.section(VAEConfig)
    assert params.section(DreamConfig).temperature == 0.7
    said = message(DreamConfig, params.changed, {"dream": {"temperature": -1.0}})
    assert said.startswith("params.yaml: small.carracing.dream.temperature: ")


def test_every_parameter_is_explained_beside_it():
    lines = iter(COMMITTED.read_text().splitlines())
    while next(lines) != "  carracing:":
        pass
    for stage, kind in STAGES.items():
        assert next(lines).startswith(f"    {stage}: &paper_{stage}")
        for name in kind.model_fields:
            line = next(lines)
            assert line.startswith(f"      {name}: "), line
            assert "# " in line, f"{stage}: {line}"


def test_the_papers_scale_is_the_papers(changed):
    for task, latent, hidden, cell, bias, restart in [
        ("carracing", 32, 256, False, True, False),
        ("takecover", 64, 512, True, False, True),
    ]:
        params = changed("scale", "paper", task)
        assert params.section(VAEConfig).latent_size == latent
        rnn = params.section(RNNConfig)
        assert (rnn.hidden_size, rnn.mixtures, rnn.restart_input) == (hidden, 5, restart)
        controller = params.section(ControllerConfig)
        assert (controller.cell, controller.bias) == (cell, bias)
        assert (controller.population, controller.episodes, controller.sigma) == (64, 16, 0.1)
        assert (controller.more_episodes, controller.racing, controller.patience) == (0, 0, 0)
        assert (controller.sigma_decay, controller.diagonal) == (1, False)
        assert controller.warm_start is None
        assert (controller.inputs, controller.hidden_units) == ("full", None)
        assert params.section(CollectConfig).episodes == 10_000
    assert params.section(DreamConfig).temperature == 1.15


def test_an_unknown_key_is_named(changed):
    said = message(VAEConfig, changed, "small.carracing.vae.batchsize", 3)
    assert said.startswith("params.yaml: small.carracing.vae.batchsize: ")


def test_a_missing_key_is_named(changed):
    said = message(VAEConfig, lambda: changed("small.carracing.vae.batches", 0, remove=True))
    assert said.startswith("params.yaml: small.carracing.vae.batches: ")


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (CollectConfig, "collect.episodes", 0),
        (CollectConfig, "collect.episodes", 1),
        (CollectConfig, "collect.policy", "human"),
        (CollectConfig, "collect.simulator", "mujoco"),
        (CollectConfig, "collect.workers", "two"),
        (CollectConfig, "collect.longest_hold", [10]),
        (CollectConfig, "collect.longest_hold", [30, 10]),
        (VAEConfig, "vae.learning_rate", -1e-3),
        (VAEConfig, "vae.learning_rate", float("nan")),
        (VAEConfig, "vae.learning_rate", float("inf")),
        (VAEConfig, "vae.batch_size", 1.5),
        (VAEConfig, "vae.batch_size", True),
        (VAEConfig, "vae.batches", None),
        (VAEConfig, "vae.precision", "16"),
        (RNNConfig, "rnn.learning_rate_decay", 1.5),
        (RNNConfig, "rnn.done_head", "yes"),
        (DreamConfig, "dream.temperature", 0),
        (ControllerConfig, "controller.population", 1),
        (ControllerConfig, "controller.train_in", "moon"),
        (ControllerConfig, "controller.patience", -1),
        (ControllerConfig, "controller.sigma_decay", 1.1),
        (ControllerConfig, "controller.inputs", "hidden"),
        (ControllerConfig, "controller.hidden_units", 0),
        (ControllerConfig, "controller.precision", "bf16-mixed"),
    ],
)
def test_a_value_out_of_range_is_named_and_shown(changed, kind, key, value):
    said = message(kind, changed, f"small.carracing.{key}", value)
    assert said.startswith(f"params.yaml: small.carracing.{key}"), said
    assert repr(value) in said


def test_without_a_bias_features_can_not_be_centred(changed):
    said = message(ControllerConfig, changed, "small.carracing.controller.bias", False)
    assert said.startswith("params.yaml: small.carracing.controller: ")
    assert "centred needs bias: true" in said


def test_a_race_leaves_episodes_to_race_for(changed):
    said = message(ControllerConfig, changed, "small.carracing.controller.racing", 3)
    assert "racing: 3 leaves nothing of 3 episodes to race for" in said


def test_episodes_become_more_evenly():
    config = smoke("controller", "carracing", episodes=2, more_episodes=6, generations=4)
    assert [config.episodes_at(generation) for generation in (1, 2, 3, 4)] == [2, 4, 6, 8]
    alone = smoke("controller", "carracing", episodes=2, more_episodes=5, generations=1)
    assert alone.episodes_at(1) == 2


def test_a_number_that_yaml_takes_for_text_is_explained(changed):
    assert "wants a dot" in message(VAEConfig, changed, "small.carracing.vae.learning_rate", "1e-3")
    said = message(VAEConfig, changed, "small.carracing.vae.learning_rate", "fast")
    assert "wants a dot" not in said


def test_whole_numbers_will_do_where_others_are_asked_for(changed):
    assert changed("small.carracing.dream.temperature", 1).section(DreamConfig).temperature == 1


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("scale", "tiny", "params.yaml: tiny: no such key; there are: "),
        ("scale", 3, "params.yaml: scale"),
        ("scale", None, "params.yaml: scale"),
        ("seed", "one", "params.yaml: seed"),
        ("seed", -1, "params.yaml: seed"),
    ],
)
def test_a_wrong_scale_or_seed_is_named(changed, key, value, said):
    assert message(VAEConfig, changed, key, value).startswith(said)


def test_a_task_or_stage_that_has_no_parameters_is_named(changed):
    said = message(VAEConfig, changed, "seed", 1, "pong")
    assert said.startswith("params.yaml: small.pong: no such key; there are: carracing, ")
    said = message(VAEConfig, lambda: changed("small.carracing.vae", 0, remove=True))
    assert said.startswith(
        "params.yaml: small.carracing.vae: no such key; there are: again, collect, "
    )


def test_an_unknown_key_at_the_top_is_named(changed):
    said = message(VAEConfig, changed, "sede", 2)
    assert said.startswith("params.yaml: sede: unknown; there are: scale, tasks, rounds, seed, ")


def test_what_is_wrong_for_a_later_stage_is_named_before_the_first(changed):
    with pytest.raises(ConfigError, match=r"carracing\.controller\.sigma: "):
        changed("small.carracing.controller.sigma", 0)


def test_an_unknown_section_is_named(changed):
    said = message(VAEConfig, changed, "small.carracing.dreams", {"temperature": 1.0})
    assert said.startswith("params.yaml: small.carracing.dreams: unknown; there are: collect, ")


def test_a_section_that_is_no_section_is_named(changed):
    said = message(VAEConfig, changed, "small.carracing.vae", 3)
    assert said.startswith("params.yaml: small.carracing.vae: ")


@pytest.mark.parametrize("text", [None, "a: [", "", "- 1", "scale: small"])
def test_a_file_that_is_missing_or_no_parameters_is_named(tmp_path, text):
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Params(path, "carracing")
    assert "params.yaml: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sections_can_not_be_changed(changed):
    section = changed("seed", 1).section(DreamConfig)
    with pytest.raises(ValueError, match="frozen"):
        section.temperature = 2.0


def a_round(changed, name="takecover-2", **changes):
    """The parameters of a second round of TakeCover, where it is declared with changes."""
    own = {"task": "takecover", "after": "takecover"} | changes
    return changed("rounds", {name: own}, name)


def test_a_later_round_has_the_tasks_parameters_but_for_what_is_said_again(changed):
    first, later = changed("seed", 1, "takecover"), a_round(changed)
    assert (later.task, later.after) == ("takecover", "takecover")
    assert (first.section(CollectConfig).policy, first.after) == ("held", None)
    assert later.section(CollectConfig).policy == "agent"
    assert later.section(VAEConfig).latent_size == first.section(VAEConfig).latent_size
    assert later.seed != first.seed
    assert later.of("takecover").section(CollectConfig) == first.section(CollectConfig)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("takecover-curious", {}, "is to be called takecover-2 or another number"),
        ("takecover-1", {}, "is to be called takecover-2 or another number"),
        ("carracing-2", {}, "is to be called takecover-2 or another number"),
        ("takecover-2", {"after": "carracing"}, "carracing is no round of takecover"),
        ("takecover-3", {"after": "takecover-2"}, "takecover-2 is no round of takecover"),
        ("takecover-2", {"before": "takecover"}, "Extra inputs are not permitted"),
    ],
)
def test_a_round_that_is_wrong_is_refused_in_one_line(changed, name, changes, said):
    with pytest.raises(ConfigError, match=said) as caught:
        a_round(changed, name, **changes)
    assert str(caught.value).startswith(f"params.yaml: rounds.{name}")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("small.takecover.again.vae", None, "again.vae: Input should be a valid dictionary"),
        ("small.takecover.again.vea", {}, "again.vea: unknown"),
        ("small.takecover.again.rnn", {"batches": 0}, "again.rnn.batches: Input should be greater"),
        ("small.takecover.again", None, "again"),
    ],
)
def test_what_is_said_again_is_looked_at_in_every_round(changed, key, value, said):
    assert said in message(VAEConfig, changed, key, value, "takecover")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("collect.policy", "agent"),
        ("vae.warm_start", True),
        ("rnn.warm_start", True),
        ("controller.warm_start", "before"),
    ],
)
def test_a_first_round_inherits_nothing(changed, key, value):
    said = message(VAEConfig, changed, f"small.carracing.{key}", value)
    assert said == f"params.yaml: small.carracing.{key}: a first round goes on from nothing"
