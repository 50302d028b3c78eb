"""A journal: what it was told it tells again, and it believes nothing that is damaged."""

import math

import pytest

from world_models.runtime.journal import Journal

RECORDS = [{"a": 0.1 + 0.2}, [1, None, "x"], -math.inf]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "deep" / "journal"
    journal = Journal(path)
    for record in RECORDS:
        journal.append(record)
    assert journal.records == RECORDS
    return path


def test_records_come_back_to_the_last_bit(path):
    assert Journal(path).records == RECORDS


def test_a_line_cut_short_anywhere_is_not_believed(path):
    whole = path.read_bytes()
    last = len(whole.splitlines()[-1]) + 1
    for left in range(len(whole) - last, len(whole)):
        path.write_bytes(whole[:left])
        assert Journal(path).records == RECORDS[:2], left


def test_a_damaged_line_ends_what_is_believed(path):
    whole = path.read_bytes()
    at = whole.index(b"null")
    path.write_bytes(whole[: at - 3] + b"2" + whole[at - 2 :])  # [2, null, "x"] is JSON too
    assert Journal(path).records == RECORDS[:1]


def test_zeros_at_the_end_are_what_a_power_cut_may_leave(path):
    with path.open("ab") as file:
        file.write(bytes(100))
    assert Journal(path).records == RECORDS


def test_after_a_damaged_line_it_goes_on_in_its_place(path):
    path.write_bytes(path.read_bytes()[:-3])
    Journal(path).append("new")
    assert Journal(path).records == [*RECORDS[:2], "new"]
