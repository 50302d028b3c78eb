"""The cost of the scale `paper`, out of a made-up bench.json."""

import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks.paper_cost import Data, Machine, Rates, Seconds, costs, machines, main
from tests.stages import refused_here, said_here
from world_models.params import Params

ROWS = [
    ("CarRacing, features", "the textbook loop", 1000, 100),
    ("CarRacing, official", "Gymnasium's own", 500, 100),
    ("V and M, 64 frames", "eager float32", 4000, 2000),
    ("TakeCover, features", "its bare parts together", 1000, 1000),
    ("CarRacing, dream", "its matrix products alone", 100_000, 200_000),
    ("TakeCover, dream", "its matrix products alone", 50_000, 50_000),
    ("VAE training", "forward, backward, step alone", 10, 10),
    ("M training", "forward, backward, step alone", 10, 10),
    ("encoding from the store", "the encoder alone", 4000, 4000),
]


def rows():
    names = ("path", "against", "rate", "reference")
    return [dict(zip(names, row, strict=True)) for row in ROWS]


def stages(task):
    path = Path("params.yaml")
    paper, small = Params(path, task, "paper"), Params(path, "carracing", "small")
    return costs(task, paper, small, Rates(rows()), Data(1000, 800, 200))


def test_car_racing_at_its_rates():
    found = stages("carracing")
    frames = 10_000 * 1000
    # The textbook loop's 1/100 s, less Gymnasium's game in 2 processes and with the quick one.
    assert found["collect"].seconds == pytest.approx((frames * (0.01 - 0.005 + 0.001), 0, 0))
    assert found["collect"].disk == frames * 800
    assert found["vae"].seconds == pytest.approx((0, 0, 1_000_000 * 100 / (10 * 32)))
    assert found["encode"].seconds == pytest.approx((0, frames / 4000, 0))
    assert found["encode"].disk == frames * 200
    assert found["rnn"].seconds == pytest.approx((0, 0, 4000 * 100 * 999 / (10 * 32 * 128)))
    played, judged = 1800 * 64 * 16 * 1000, 72 * 1024 * 1000
    assert found["controller"].seconds == pytest.approx(
        ((played + judged) / 1000, (played + judged) / 4000 + judged / 100_000, 0)
    )


def test_take_cover_is_bred_in_the_dream_and_its_m_is_dearer_to_train():
    found = stages("takecover")
    played, judged = 2000 * 64 * 16 * 900, 80 * 1024 * 900
    assert found["controller"].seconds == pytest.approx(
        (judged / 1000, (played + judged) / 50_000, 0)
    )
    assert found["rnn"].seconds.training == pytest.approx(4 * 24_400 * 100 * 500 / (10 * 32 * 128))


def test_machines_speed_up_each_kind_of_work_by_its_own_factor():
    some = Machine("some", Rates([]), 2, 4, 8)
    assert some.hours(Seconds(3600, 3600, 3600)) == 0.5 + 0.25 + 0.125
    few, gpu = Rates(rows()), Rates(rows(), cores=16)
    _, many, card = machines(few, gpu)
    assert many == ("64 cores", few, 32, 32, 16)
    assert card == ("one H200", gpu, 1, 1, 1)
    assert few.game("carracing").games == pytest.approx(8 * gpu.game("carracing").games)
    assert few.collected("carracing").games == pytest.approx(8 * gpu.collected("carracing").games)


def paper(path, gpu=Path("reports/bench-h200.json"), end=said_here):
    return end(main, "--bench", str(path), "--gpu", str(gpu))


refused = partial(paper, end=refused_here)


def test_the_table_is_printed_with_what_it_rests_on(tmp_path):
    path = tmp_path / "bench.json"
    assert refused(path) == f"paper: {path}: no such file; `make bench` writes it"
    path.write_text(json.dumps({"rows": rows()[:1]}))
    assert refused(path).startswith("paper: no rate of 'VAE training' against ")
    path.write_text(json.dumps({"rows": rows()}))
    said = paper(path)
    (vae, _) = (line.split() for line in said.splitlines() if line.startswith("vae"))
    assert vae[3] == f"{1e8 / 320 / 3600:.2f}"
    assert "one H200: by the rates of bench-h200.json" in said


def test_a_gpu_has_rates_of_its_own_where_they_were_measured(tmp_path):
    bench, gpu = tmp_path / "bench.json", tmp_path / "gpu.json"
    bench.write_text(json.dumps({"rows": rows()}))
    said = refused(bench, gpu)
    assert said.startswith(f"paper: {gpu}: no such file; `python -m benchmarks --output ")
    quicker = [row | {"rate": 4 * row["rate"]} for row in rows() if row["path"] == "VAE training"]
    gpu.write_text(json.dumps({"rows": quicker}))
    lines = [line.split() for line in paper(bench, gpu).splitlines()]
    for stage, ratio in (("vae", 4), ("encode", 1)):
        *_, cores, _, card = next(line for line in lines if line[:1] == [stage])
        assert float(cores) == pytest.approx(ratio * float(card), rel=0.1)
