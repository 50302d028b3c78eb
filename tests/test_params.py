"""params.yaml: which values are in force, and what is wrong is named in one line."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import yaml

from tests.configs import PARAMS, smoke
from world_models.collecting.config import CollectConfig
from world_models.controller.config import ControllerConfig
from world_models.params import (
    GENERAL,
    SECTIONS,
    CompareRoundsConfig,
    MachineConfig,
    Params,
    SweepInputsConfig,
    SweepTemperatureConfig,
    round_names,
)
from world_models.rnn.config import RNNConfig
from world_models.runtime.errors import ConfigError
from world_models.tasks import TASKS, get_task, task_names
from world_models.vae.config import VAEConfig
from world_models.worlds.config import DreamConfig

CONTENTS = yaml.safe_load(PARAMS.read_text())
SCALES = ["smoke", "small", "full", "paper"]


@pytest.fixture
def changed(tmp_path):
    """Give a function that writes params.yaml with one value changed, and reads it."""

    def write(dotted, value, round_="carracing", remove=False):
        contents = deepcopy(CONTENTS)
        *path, last = dotted.split(".")
        place = contents
        for key in path:
            place = place[key]
        if remove:
            del place[last]
        else:
            place[last] = value
        (tmp_path / "params.yaml").write_text(yaml.dump(contents, Dumper=yaml.CSafeDumper))
        return Params(tmp_path / "params.yaml", round_)

    return write


def message(kind, read, *arguments):
    """The one line that a wrong parameter is refused with."""
    with pytest.raises(ConfigError) as caught:
        read(*arguments).section(kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("task", task_names())
def test_the_committed_parameters_are_valid_at_every_scale(changed, scale, task):
    params = changed("scale", scale, task)
    assert params.scale == scale
    for kind in SECTIONS.values():
        assert type(params.section(kind)) is kind
    for kind in (VAEConfig, RNNConfig):
        training = params.section(kind)
        assert training.batches % training.validate_every == 0  # the last weights are validated


def test_the_committed_file_is_at_the_default_scale_for_both_of_the_papers_tasks():
    assert CONTENTS["scale"] == "small"
    firsts = {
        task: {"task": task, "after": "nothing", "settings": task}
        for task in ("carracing", "takecover")
    }
    second = {"task": "carracing", "after": "carracing", "settings": "carracing.later"}
    assert CONTENTS["rounds"] == firsts | {"carracing-2": second}
    assert set(CONTENTS) == {"scale", "seed", "rounds", *GENERAL, *SCALES}


def test_the_sweeps_are_the_papers_and_off(changed):
    params = changed("seed", 1)
    sweep = params.general(SweepTemperatureConfig)
    assert sweep.temperatures == [0.10, 0.50, 1.00, 1.15, 1.30]
    assert sweep.tasks == params.general(SweepInputsConfig).tasks == []
    assert params.general(CompareRoundsConfig).rounds == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("sweep_temperature.temperatures", [], "List should have at least 1 item"),
        ("sweep_temperature.temperatures", [1.0, 0.5, 1], "one of them is there twice"),
        ("sweep_temperature.tasks", "takecover", "Input should be a valid list"),
        ("sweep_inputs.task", ["carracing"], "Extra inputs are not permitted"),
        ("compare_rounds.rounds", [2], "Input should be a valid string"),
        ("machine.workers", "two", "Input should be a valid integer"),
        ("machine.workers", 0, "Input should be greater than 0"),
    ],
)
def test_a_general_section_that_is_wrong_is_named_by_every_stage(changed, key, value, said):
    line = message(VAEConfig, changed, key, value)
    assert line.startswith(f"params.yaml: {key}")
    assert said in line


def test_a_temperature_out_of_range_is_named_by_its_place(changed):
    said = message(VAEConfig, changed, "sweep_temperature.temperatures", [0.5, 0])
    assert said.startswith("params.yaml: sweep_temperature.temperatures.1")


def test_whole_temperatures_stay_as_they_are(changed):
    """DVC names a stage after one as it stands in the file, 1 or 1.0."""
    found = changed("sweep_temperature.temperatures", [1, 0.5]).general(SweepTemperatureConfig)
    assert [str(temperature) for temperature in found.temperatures] == ["1", "0.5"]


def test_what_a_general_section_leaves_out_has_its_default(changed):
    assert changed("machine", {}).general(MachineConfig) == MachineConfig()


def test_a_variant_has_other_values_and_leaves_the_tasks_own_alone(changed):
    params = changed("seed", 1)
    other = params.changed({"dream": {"temperature": 0.3}, "controller": {"inputs": "latent"}})
    assert other.section(DreamConfig).temperature == 0.3
    assert other.section(ControllerConfig).inputs == "latent"
    assert other.section(VAEConfig) == params.section(VAEConfig)
    assert params.section(DreamConfig).temperature == 0.7
    assert other.origins("dream")["temperature"] == "this sweep"
    said = message(DreamConfig, params.changed, {"dream": {"temperature": -1.0}})
    assert said.startswith("this sweep: dream.temperature: ")
    said = message(DreamConfig, params.changed, {"dream": {"tau": 1.0}})
    assert said.startswith("this sweep: dream.tau: unknown; there are: temperature, ")


def test_the_file_has_no_anchor_and_no_flow_style_that_a_change_by_dvc_would_spell_out():
    lines = [line.partition(" #")[0].partition("# ")[0] for line in PARAMS.read_text().splitlines()]
    written = "\n".join(lines)
    assert not set("&*<\"'|>") & set(written)
    values = [line.partition(": ")[2].strip() for line in lines]
    assert {value for value in values if value[:1] in ("[", "{")} <= {"[]", "{}"}
    assert "null" not in values


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
        assert (controller.more_episodes, controller.patience) == (0, 0)
        assert (controller.sigma_decay, controller.diagonal) == (1, False)
        assert controller.warm_start is None
        assert (controller.inputs, controller.hidden_units) == ("full", None)
        assert params.section(CollectConfig).episodes == 10_000
    assert params.section(DreamConfig).temperature == 1.15


def test_an_unknown_key_is_named(changed):
    said = message(VAEConfig, changed, "small.carracing.vae.batchsize", 3)
    assert said.startswith("params.yaml: small.carracing.vae.batchsize: ")


def test_a_key_that_is_not_there_has_the_value_of_the_layer_below(changed):
    params = changed("small.carracing.vae.batches", 0, remove=True)
    assert params.section(VAEConfig).batches == VAEConfig().batches
    assert params.origins("vae")["batches"] == "the default"


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (CollectConfig, "collect.episodes", 0),
        (CollectConfig, "collect.episodes", 1),
        (CollectConfig, "collect.policy", "human"),
        (CollectConfig, "collect.simulator", "mujoco"),
        (CollectConfig, "collect.shard_episodes", "two"),
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


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("small.carracing.controller.diagonal", -1),  # true, false or a number
        ("small.carracing.controller.diagonal", {"batches": {}}),
        ("small.carracing.collect", {None: 1}),
        ("sweep_temperature.temperatures", 0.5),
    ],
)
def test_no_key_is_named_that_there_is_not(changed, key, value):
    assert message(VAEConfig, changed, key, value).startswith(f"params.yaml: {key}: ")


def test_a_key_that_is_misspelt_is_named_as_it_stands_there(changed):
    contents = CONTENTS["rounds"]["carracing"]
    round_ = {"setttings" if key == "settings" else key: contents[key] for key in contents}
    said = message(VAEConfig, changed, "rounds.carracing", round_)
    assert said.startswith("params.yaml: rounds.carracing.setttings: ")


def test_without_a_bias_features_can_not_be_centred(changed):
    said = message(ControllerConfig, changed, "small.carracing.controller.bias", False)
    assert said.startswith("params.yaml: small.carracing.controller: ")
    assert "centred needs bias: true" in said


def test_c_that_goes_from_the_dream_to_the_game_plays_in_both(changed):
    key = "small.carracing.controller.train_in"
    said = message(ControllerConfig, changed, key, "dream-then-real")
    assert said.startswith("params.yaml: small.carracing.controller: ")
    assert "dream-then-real needs real_generations: some, not all" in said


def test_v_that_is_not_trained_is_the_one_of_the_round_before(changed):
    said = message(VAEConfig, changed, "small.carracing.vae.batches", 0)
    assert said.startswith("params.yaml: small.carracing.vae: ")
    assert "batches: 0 needs warm_start: true" in said


def test_none_is_a_word_as_the_descriptions_have_it(changed):
    params = changed("small.pendulum.controller.hidden_units", "none", "pendulum")
    assert params.section(ControllerConfig).hidden_units is None
    params = changed("small.pendulum.controller.warm_start", "none", "pendulum")
    assert params.section(ControllerConfig).warm_start is None


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
        ("scale", "tiny", "params.yaml: scale: unknown scale 'tiny'; there are: "),
        ("scale", 3, "params.yaml: scale"),
        ("scale", None, "params.yaml: scale"),
        ("seed", "one", "params.yaml: seed"),
        ("seed", -1, "params.yaml: seed"),
    ],
)
def test_a_wrong_scale_or_seed_is_named(changed, key, value, said):
    assert message(VAEConfig, changed, key, value).startswith(said)


def test_a_round_or_section_that_is_not_there_is_named(changed):
    said = message(VAEConfig, changed, "seed", 1, "pong")
    assert said == "pong: no round 'pong'; there are: carracing, carracing-2, pendulum, takecover"
    said = message(VAEConfig, lambda: changed("small.carracing.vae", 0, remove=True))
    assert said.startswith("params.yaml: small.carracing.vae: no such key; there are: collect, ")
    said = message(VAEConfig, lambda: changed("small.carracing", 0, remove=True))
    assert said.startswith(
        "params.yaml: small.carracing: no such key; there are: all, pendulum, takecover"
    )
    said = message(VAEConfig, lambda: changed("small.all.vae", 0, remove=True))
    assert said.startswith("params.yaml: small.all.vae: no such key; there are: collect, ")


def test_a_task_can_be_run_by_hand_without_being_listed(changed):
    params = changed("seed", 1, "pendulum")
    assert (params.round, params.task, params.after, params.seed) == ("pendulum",) * 2 + (None, 1)
    assert params.section(VAEConfig).latent_size == 8


def test_an_unknown_key_at_the_top_is_named(changed):
    said = message(VAEConfig, changed, "sede", 2)
    assert said.startswith("params.yaml: sede: unknown; there are: scale, seed, rounds, machine, ")


def test_what_is_wrong_for_a_later_stage_is_named_before_the_first(changed):
    with pytest.raises(ConfigError, match=r"carracing\.controller\.sigma: "):
        changed("small.carracing.controller.sigma", 0)


def test_an_unknown_section_is_named(changed):
    said = message(VAEConfig, changed, "small.carracing.dreams", {"temperature": 1.0})
    assert said.startswith(
        "params.yaml: small.carracing.dreams: neither a section nor a block of a later round"
    )
    said = message(VAEConfig, changed, "small.all.dreams", {})
    assert said.startswith("params.yaml: small.all.dreams: unknown; there are: collect, ")


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


LATER = {"task": "takecover", "after": "takecover", "settings": "takecover.later"}
"""A second round of TakeCover."""


def test_the_later_layer_wins(tmp_path):
    """The default, the game in the paper, the scale, the game at that scale, the later round."""
    contents = deepcopy(CONTENTS)
    contents["rounds"]["takecover-2"] = LATER

    def in_force(round_):
        (tmp_path / "params.yaml").write_text(yaml.dump(contents))
        params = Params(tmp_path / "params.yaml", round_)
        origin = params.origins("rnn")["learning_rate_floor"]
        return params.section(RNNConfig).learning_rate_floor, origin

    assert in_force("carracing") == (0.0, "the default")
    assert in_force("takecover") == in_force("takecover-2") == (0.00001, "tasks/takecover.py")
    for number, key in enumerate(["all", "takecover", "takecover.later"], 1):
        place = contents["small"]
        for part in key.split("."):
            place = place[part]
        place["rnn"]["learning_rate_floor"] = number / 1000
        assert in_force("takecover-2") == (number / 1000, f"small.{key}.rnn")
    assert in_force("takecover") == (0.002, "small.takecover.rnn")
    assert in_force("carracing") == (0.001, "small.all.rnn")


def test_another_scale_than_the_files_can_be_asked_for(changed):
    path = changed("seed", 1).path
    assert Params(path, "carracing", "paper").section(VAEConfig) == VAEConfig()
    with pytest.raises(ConfigError, match=r"scale: unknown scale 'tiny'; there are: "):
        Params(path, "carracing", "tiny")


def test_what_a_task_says_of_the_paper_is_looked_at_too(changed, monkeypatch):
    def with_paper(paper):
        monkeypatch.setitem(TASKS, "carracing", replace(get_task("carracing"), paper=paper))
        return message(VAEConfig, changed, "scale", "paper")

    said = with_paper({"vae": {"latent_size": 0}})
    assert said.startswith("tasks/carracing.py: paper.vae.latent_size: ")
    said = with_paper({"vae": {"latents": 8}})
    assert said.startswith("tasks/carracing.py: paper.vae.latents: unknown; there are: ")
    said = with_paper({"vea": {"latent_size": 8}})
    assert said.startswith("tasks/carracing.py: paper.vea: unknown; there are: collect, vae, ")


def a_round(changed, name="takecover-2", **changes):
    """The parameters of a second round of TakeCover, where it is declared with changes."""
    return changed("rounds", CONTENTS["rounds"] | {name: LATER | changes}, name)


@pytest.mark.parametrize("name", ["takecover-2", "takecover-game", "curious"])
def test_a_later_round_has_the_tasks_parameters_but_for_what_its_block_says(changed, name):
    first, later = changed("seed", 7, "takecover"), a_round(changed, name)
    assert (later.round, later.task, later.after) == (name, "takecover", "takecover")
    assert (later.number, later.chain) == (2, ["takecover", name])
    assert (first.section(CollectConfig).policy, first.after) == ("held", None)
    assert later.section(CollectConfig).policy == "agent"
    assert later.origins("collect")["policy"] == "small.takecover.later.collect"
    assert later.section(VAEConfig).latent_size == first.section(VAEConfig).latent_size
    assert later.of("takecover").section(CollectConfig) == first.section(CollectConfig)
    with_changes = later.changed({"dream": {"temperature": 0.3}})
    assert with_changes.of("takecover").section(DreamConfig) == first.section(DreamConfig)


def test_a_round_may_be_run_with_the_tasks_own_settings(changed):
    """A data set that goes on is not all that there is to a round."""
    later = a_round(changed, "takecover-game", settings="takecover")
    assert later.section(CollectConfig) == changed("seed", 1, "takecover").section(CollectConfig)


def test_each_round_of_a_chain_has_a_seed_of_its_own(changed):
    rounds = CONTENTS["rounds"] | {
        "third": LATER | {"after": "takecover-game"},
        "takecover-game": LATER,
        "takecover-other": LATER,
    }
    third = changed("rounds", rounds, "third")
    assert (third.number, third.chain) == (3, ["takecover", "takecover-game", "third"])
    seeds = {name: third.of(name).seed for name in [*third.chain, "takecover-other"]}
    assert seeds == {
        "takecover": 1,
        "takecover-game": 1_000_001,
        "third": 2_000_001,
        "takecover-other": 1_000_001,
    }


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("carracing-2", {"task": "carracing"}, ".after: takecover is of another task"),
        ("takecover-2", {"after": "carracing"}, ".after: carracing is of another task"),
        ("takecover-3", {"after": "takecover-2"}, ".after: no round 'takecover-2'; there are: car"),
        ("takecover-2", {"after": "takecover-2"}, ".after: takecover-2 would come after itself"),
        ("takecover-2", {"before": "takecover"}, ".before: Extra inputs are not permitted"),
        ("takecover-2", {"settings": "later"}, ".settings: later is neither takecover nor takecov"),
        ("takecover-2", {"settings": "carracing.later"}, ".settings: carracing.later is neither "),
        ("takecover-2", {"settings": "takecover.a.b"}, ".settings: takecover.a.b is neither "),
        ("nothing", {}, ": a round can't be called that"),
        ("carracing", {}, ": a round can't be called that"),
        ("take/cover", {}, ": a round can't be called that"),
        ("take.cover", {}, ": a round can't be called that"),
        ("takecover@2", {}, ": a round can't be called that"),
    ],
)
def test_a_round_that_is_wrong_is_refused_in_one_line_by_every_other(changed, name, changes, said):
    rounds = CONTENTS["rounds"] | {name: LATER | changes}
    for asked in {name, "takecover"} - {"nothing", "carracing"}:
        with pytest.raises(ConfigError) as caught:
            changed("rounds", rounds, asked)
        assert str(caught.value).startswith(f"params.yaml: rounds.{name}{said}")
        assert "\n" not in str(caught.value)


def test_a_round_that_is_no_block_or_lacks_something_is_refused(changed):
    said = message(VAEConfig, changed, "rounds", {"x": 3}, "x")
    assert said.startswith("params.yaml: rounds.x: Input should be a valid dictionary")
    said = message(VAEConfig, changed, "rounds", {"x": {"task": "takecover", "after": "x"}}, "x")
    assert said == "params.yaml: rounds.x.settings: Field required"


def test_a_round_of_a_task_that_is_none_or_whose_block_is_not_there_is_refused(changed):
    pong = {"task": "pong", "after": "nothing", "settings": "pong"}
    for asked in ("pong", "carracing"):
        said = message(VAEConfig, changed, "rounds", CONTENTS["rounds"] | {"pong": pong}, asked)
        start = "params.yaml: rounds.pong.task: unknown task 'pong'; known tasks: carracing, "
        assert said.startswith(start)
    again = partial(a_round, changed, "takecover-2", settings="takecover.again")
    said = message(VAEConfig, again)
    assert said.startswith("params.yaml: small.takecover.again: no such key; there are: collect, ")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("later.vae", None, "later.vae: Input should be a valid dictionary (given: None)"),
        ("later.vea", {}, "later.vea: unknown; there are: collect, vae, "),
        ("later.rnn", {"batches": 0}, "later.rnn.batches: Input should be greater than 0"),
        ("later.rnn", {"steps": "9e2"}, "later.rnn.steps: Input should be a valid integer"),
        ("later.rnn", {"batch": 1}, "later.rnn.batch: unknown; there are: warm_start, "),
        ("later", None, "later: Input should be a valid dictionary (given: None)"),
        ("again", {"vae": {"batches": -1}}, "again.vae.batches: Input should be greater than or "),
    ],
)
def test_what_is_said_of_later_rounds_is_looked_at_in_every_round(changed, key, value, said):
    line = message(VAEConfig, changed, f"small.takecover.{key}", value, "takecover")
    assert line.startswith(f"params.yaml: small.takecover.{said}")


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


def test_what_a_first_round_would_inherit_is_named_where_it_is_said(changed):
    said = message(VAEConfig, changed, "small.all.rnn.warm_start", True)
    assert said == "params.yaml: small.all.rnn.warm_start: a first round goes on from nothing"


def test_a_first_round_with_the_settings_of_later_ones_is_named_by_these(changed):
    said = message(VAEConfig, partial(a_round, changed, "takecover-2", after="nothing"))
    key = "small.takecover.later.collect.policy"
    assert said == f"params.yaml: {key}: a first round goes on from nothing"


def test_the_names_of_rounds_can_be_read_from_whatever_is_there(changed, tmp_path):
    names = ["carracing", "carracing-2", "takecover", "takecover-2"]
    assert round_names(a_round(changed).path) == names
    for text in ("a: [", "- 1", "scale: small", "rounds: 3", ""):
        (tmp_path / "params.yaml").write_text(text)
        assert round_names(tmp_path / "params.yaml") == []
    assert round_names(tmp_path / "nowhere.yaml") == []
