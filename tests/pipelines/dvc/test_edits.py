"""What differs between two versions of a file, and what of that has run."""

import ast
import subprocess
import sys
from textwrap import dedent

import pytest

from pipelines.dvc.edits import differences, mark, marked, notes, prepare_notes, renumbered


def parse(text):
    return ast.parse(dedent(text))


def edits_of(old, new):
    return differences(parse(old), parse(new))


def lines(old, new):
    """The lines that have to run, of the old version and of the new one."""
    edits = edits_of(old, new)
    sides = edits.old, edits.new
    return tuple(sorted({int(note[2:]) for note in marked(side, "x")}) for side in sides)


BRANCHES = """\
    def play(game):
        if game == "doom":
            steps = 4
        else:
            steps = 1
        return steps
    """


@pytest.mark.parametrize(
    "new",
    [
        BRANCHES,
        BRANCHES.replace("steps = 4", "steps = 4  # a comment"),
        BRANCHES.replace("    if game", '    """A docstring."""\n        if game'),
        BRANCHES.replace("return steps", "return (\n            steps\n        )"),
        "    '''Of the module.'''\n    if TYPE_CHECKING:\n        import numpy\n" + BRANCHES,
    ],
)
def test_what_changes_nothing_is_no_edit(new):
    assert not edits_of(BRANCHES, new)


def test_a_field_s_docstring_is_no_edit():
    field = "class Config:\n    batches: int = 3\n"
    assert not edits_of(field, field + '    """How many."""\n')
    assert not edits_of("class Empty:\n    pass\n", 'class Empty:\n    """Nothing."""\n')


@pytest.mark.parametrize(
    ("found", "put", "expected"),
    [
        ("steps = 4", "steps = 5", ([3], [3])),
        ("return steps", "return steps + 1", ([6], [6])),
        ("game ==", "game !=", ([2], [2])),
        ("steps = 4", "steps = 4; print()", ([], [3])),
        # A function's name shows in the first line that it does.
        ("play", "act", ([1], [1])),
        ("        steps = 1", "        steps = 1\n            steps += 1", ([], [6])),
    ],
)
def test_an_edit_is_the_statement_alone(found, put, expected):
    assert lines(BRANCHES, BRANCHES.replace(found, put)) == expected


def test_what_leaves_its_branch_has_to_run_on_both_sides():
    old = "def f(x):\n    if x:\n        a()\n        b()\n"
    new = "def f(x):\n    if x:\n        a()\n    b()\n"
    assert lines(old, new) == ([4], [4])


def test_a_statement_that_goes_to_another_function_is_an_edit_of_both():
    old = "def f():\n    a()\n    b()\ndef g():\n    c()\n"
    new = "def f():\n    a()\ndef g():\n    b()\n    c()\n"
    assert lines(old, new) == ([3], [4])


def test_clauses_count():
    old = "try:\n    a()\nexcept KeyError:\n    b()\nfinally:\n    c()\n"
    assert lines(old, old.replace("KeyError", "ValueError")) == ([3], [3])
    assert lines(old, old.replace("c()", "d()")) == ([6], [6])
    cases = "match x:\n    case 1:\n        a()\n    case 2:\n        b()\n"
    assert lines(cases, cases.replace("case 2", "case 3")) == ([4], [4])


def test_a_new_file_is_all_edits():
    assert lines("", BRANCHES) == ([], [1, 2, 3, 5, 6])
    assert lines(BRANCHES, "") == ([1, 2, 3, 5, 6], [])


def test_the_words_of_an_error_need_not_be_seen():
    old = "def f(x):\n    if x:\n        raise ValueError(f'{x}: bad')\n"
    reworded = old.replace(": bad", " is bad")
    assert edits_of(old, reworded)
    assert lines(old, reworded) == ([], [])
    assert lines(old, old.replace("ValueError", "KeyError")) == ([3], [3])


def test_a_function_s_types_need_not_be_seen():
    old = "def f(x: int, *, y: str = '') -> int:\n    g()\n"
    retyped = old.replace("int", "float")
    assert edits_of(old, retyped)
    assert lines(old, retyped) == ([], [])
    assert lines(old, old.replace("x", "z")) == ([1], [1])


def test_a_signature_with_nothing_to_run_is_an_edit_that_needs_no_run():
    old = 'class Handler:\n    def close(self, job):\n        """Closes."""\n'
    new = old.replace("job", "work")
    assert edits_of(old, new)
    assert lines(old, new) == ([], [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("STEPS = 4", "STEPS = 5"),
        ("A = B = 4", "A = B = 5"),
        ("class Config:\n    batches: int = 3", "class Config:\n    batches: int = 4"),
        ("class Config:\n    batches: int = 3", "class Config:\n    batches: Positive = 3"),
        ("def f(x, n=3):\n    g()", "def f(x, n=4):\n    g()"),
        ("def f(*, n=3):\n    g()", "def f(*, n=4):\n    g()"),
        (
            "class A:\n    def f(self, n=3):\n        g()",
            "class A:\n    def f(self, n=4):\n        g()",
        ),
    ],
)
def test_a_value_that_is_fixed_is_told(old, new):
    both = zip(old.splitlines(), new.splitlines(), strict=True)
    differing = [number for number, (before, after) in enumerate(both, 1) if before != after]
    assert edits_of(old, new).revalued == differing


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("STEPS = 4", "MOVES = 4"),
        ("def f(x):\n    g()", "def f(x, n=4):\n    g()"),
        ("STEPS = 4\nMOVES = 5", "MOVES = 5"),
    ],
)
def test_what_who_uses_it_has_to_name_anew_is_not(old, new):
    """Those places are edits themselves, and have to run."""
    assert edits_of(old, new)
    assert not edits_of(old, new).revalued


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return reward > 0", "return reward > 5"),
        ("return reward > 1", "return reward > -1"),
        ("return play(reward, True)", "return play(reward, False)"),
        ("return reward", "return reward + 5"),
        ("return reward > 0", "limit = 5; return reward > limit"),
        ("return reward > 0", "return reward > LIMIT\nLIMIT = 5"),
    ],
)
def test_a_number_that_was_nowhere_is_told(old, new):
    function = "def last(reward):\n    {}\n"
    edits = edits_of(function.format(old), function.format(new))
    assert renumbered([edits])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x[0]", "x.first"),
        ("x * 2", "x * FACTOR"),
        ("x + y * 2", "x + z * 2"),
    ],
)
def test_a_number_that_stays_or_goes_is_no_other_value(old, new):
    edits = edits_of(f"def f(x):\n    return {old}\n", f"def f(x):\n    return {new}\n")
    assert edits
    assert not edits.revalued
    assert not renumbered([edits])


def test_a_number_may_go_to_another_file_or_into_a_new_constant():
    here = edits_of("def f(x):\n    return x * 2\n", "")
    there = edits_of("", "def g(x):\n    return x * 2\n")
    assert not renumbered([here, there])
    assert renumbered([there])
    assert not renumbered([edits_of("", "FACTOR = 2\n")])


def test_numbers_in_another_order_are_told():
    function = "def f(x):\n    return play({})\n"
    assert edits_of(function.format("a=1, b=2"), function.format("a=2, b=1")).revalued == [2]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("C = dict(limit=9)", "C = dict(limit=9)\nC = dict(C, limit=8)", 2),
        ("C = dict(limit=9)\nC = dict(C, limit=8)", "C = dict(limit=9)", 2),
        ("A = {}", "A = {}\nA.update(x=y)", 2),
        ("import task", "import task\ntask.limit = x", 2),
        ("class D(B):\n    x = y", "class D(C):\n    x = y", 1),
    ],
)
def test_what_is_overridden_outside_functions_is_told(old, new, line):
    assert line in edits_of(old, new).revalued


@pytest.mark.parametrize(
    ("old", "new", "arms"),
    [
        # worlds/features.py: C sees M's cell state, or it doesn't.
        ("h + ([s.cell] if seen else [])", "h + ([s.hidden] if seen else [])", ["[s.hidden]"]),
        ("a if c else b", "b if c else b", ["b"]),
        # Another condition may come out otherwise elsewhere, so both arms have to have run.
        ("a if c else b", "a if d else b", ["a", "b"]),
        ("(a if p else b, c if q else d)", "(c if p else b, a if q else d)", ["c", "a"]),
        ("a if c else b", "b if c else a", ["b", "a"]),
        ("a or b", "a or d", ["d"]),
        ("a or b", "d or b", ["b"]),
        ("a < b < c", "a < b < d", ["d"]),
        ("lambda: a", "lambda: b", ["b"]),
        ("[f(x) for x in xs]", "[g(x) for x in xs]", ["g(x)"]),
        ("{k: v for k in xs if c}", "{k: v for k in xs if d}", ["k", "v", "d"]),
        ("[x for s in xs for x in s.h]", "[x for s in xs for x in s.g]", ["x", "s.g"]),
        ("{k: v for k in xs}", "{v: k for k in xs}", ["v", "k"]),
        ("a if c else b if d else e", "a if c else b if d else f", ["b if d else f", "f"]),
        # A conditional expression begins where its first arm begins.
        ("a if p else b if q else c", "a if p else c if q else c", ["c if q else c", "c"]),
        ("[a if c else b for s in xs]", "[d if c else b for s in xs]", ["d if c else b", "d"]),
        ("y", "a if c else b", ["a", "b"]),
    ],
)
def test_an_arm_that_differs_has_to_run_itself(old, new, arms):
    edits = edits_of(f"def f():\n    x = {old}", f"def f():\n    x = {new}")
    assert [ast.unparse(arm.expression) for edit in edits.new for arm in edit.arms] == arms
    assert len(set(marked(edits.new, "x"))) == 1 + len(arms)


def test_an_arm_is_noted_when_it_has_run_and_changes_nothing(tmp_path):
    text = dedent(
        """\
        def size(many, cells=()):
            return (2 if many else 1) + sum(cell if cell > 1 < 3 else 0 for cell in cells)

        print(size(False), size(True and 1, [2, 3]), (lambda: 7)())
        """
    )
    tree = ast.parse(text)
    edits = differences(ast.parse(""), tree)
    (tmp_path / "module.py").write_text(mark(tree, edits.new, "m"))
    prepare_notes(tmp_path)
    command = [sys.executable, "module.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "1 7 7\n"
    idle = set(marked(edits.new, "m")) - notes(tmp_path)
    assert {note.partition("-")[0] for note in idle} == {
        f"m:2:{text.splitlines()[1].index('0 for') + 1}"
    }


def test_what_runs_is_noted_in_every_process(tmp_path):
    new = dedent(
        '''\
        """A module."""
        from __future__ import annotations

        import multiprocessing
        import sys

        class Runner:
            """A class."""
            kind: str = "fast"

            @property
            def name(self):
                """Its name."""
                return self.kind

        def work(number):
            """Works."""
            try:
                if number > 1:
                    return "many"
                elif number == 1:
                    return "one"
                raise KeyError(number)
            except KeyError:
                return "none"
            finally:
                number += 1

        def never():
            return Runner().name

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(work, [1, 0]), work.__doc__)
        '''
    )
    tree = ast.parse(new)
    edits = differences(ast.parse(""), tree)
    (tmp_path / "module.py").write_text(mark(tree, edits.new, "module.py"))
    prepare_notes(tmp_path)
    assert notes(tmp_path) == set()
    command = [sys.executable, "module.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "['one', 'none'] Works.\n"
    missing = set(marked(edits.new, "module.py")) - notes(tmp_path)
    shown = {new.splitlines()[int(note.split(":")[1]) - 1].strip() for note in missing}
    assert shown == {
        "def name(self):",
        "return self.kind",
        'return "many"',
        "def never():",
        "return Runner().name",
    }
