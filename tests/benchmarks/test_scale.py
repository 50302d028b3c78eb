"""A generation on many cores, simulated."""

from dataclasses import replace

import pytest

from benchmarks.scale import (
    Cluster,
    Generation,
    asynchronous,
    efficiency,
    lognormal,
    makespan,
    simulated,
    ways,
)

FREE = Cluster(task_s=0.0, latency_s=0.0, bytes_a_s=float("inf"))
PAPER = Generation(64, 16, 64, 867, {1: 0.001, 16: 0.004}, steps=1000, spread=0.0)


def test_equal_jobs_take_as_many_rounds_as_they_need():
    assert makespan([2.0] * 8, 4, FREE, 0) == 4
    assert makespan([2.0] * 9, 4, FREE, 0) == 6
    assert makespan([2.0] * 3, 100, FREE, 0) == 2


def test_a_core_that_is_free_has_the_next_job():
    assert makespan([5.0, 1.0, 1.0, 1.0], 2, FREE, 0) == 5


def test_the_driver_hands_out_one_job_at_a_time():
    slow = replace(FREE, task_s=0.1)
    assert makespan([1.0] * 100, 100, slow, 0) == pytest.approx(100 * 0.1 + 1)
    narrow = replace(FREE, bytes_a_s=1000)
    assert makespan([1.0] * 100, 100, narrow, 100) == pytest.approx(100 * 0.1 + 1)


def test_a_batch_of_more_lanes_takes_as_long_as_was_measured():
    assert PAPER.batch_s == pytest.approx(4)
    assert replace(PAPER, batches=1024).batch_s == pytest.approx(1)
    assert PAPER.batch_bytes == 4 * 867 + 1000


def test_efficiency_falls_where_there_are_more_cores_than_batches():
    assert [efficiency(PAPER, cores, FREE) for cores in (1, 64, 128)] == [1, 1, 0.5]
    assert efficiency(replace(PAPER, strategy_s=4.0), 64, FREE) == 0.5


def test_generations_are_made_of_what_was_measured():
    measured = {
        "step_s": {"carracing": {"1": 0.001, "16": 0.004}},
        "strategy_s": {
            "867": {"full": {"64": 1.0, "10000": 3.0}, "diagonal": {"64": 0.1, "10000": 0.5}}
        },
    }
    found = list(ways("carracing", measured).values())
    assert [one.batches for one in found] == [64, 1024, 10_000, 10_000]
    assert [one.batch_s for one in found] == pytest.approx([4, 1, 4, 4])
    assert [one.strategy_s for one in found] == [1, 1, 3, 0.5]


def test_without_generations_only_the_driver_is_a_wall():
    cluster = replace(FREE, task_s=0.01)
    assert asynchronous(PAPER, 10, cluster) == pytest.approx(4 / 4.01)
    assert asynchronous(PAPER, 4000, cluster) == pytest.approx(0.1)


def test_durations_scatter_around_their_mean_and_the_slowest_is_waited_for():
    drawn = lognormal(2.0, 0.3, 10_000)
    assert sum(drawn) / len(drawn) == pytest.approx(2, rel=0.02)
    assert simulated(replace(PAPER, spread=0.3), 64, FREE) > 1.5 * PAPER.batch_s
