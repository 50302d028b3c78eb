"""What differs between two versions of a Python file, and whether what differs has run.

Comments, docstrings and what is written for type checkers alone make no difference. A statement
differs if it says something else, is new, is gone, or stands in another statement; one that has
others inside it is compared without them. Of one that differs, each arm has to have run that
differs: what an expression works out only sometimes, as `a` in `a if b else c`.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple, TypeAlias

Block: TypeAlias = "list[ast.AST]"
"""Statements one after another, the handlers of a `try`, or the cases of a `match`."""

INSIDE = ("body", "handlers", "orelse", "finalbody", "cases")
"""Where a node keeps its blocks."""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
CLAUSES = (*FUNCTIONS, ast.ExceptHandler, ast.match_case)
"""That one of these runs shows in its body."""
NOTES = """import os

FILE = __file__.removesuffix(".py") + ".txt"
seen = set()


def has_run(line, value=None):
    if line not in seen:
        seen.add(line)
        with open(FILE, "a") as notes:  # one short write: processes don't cut each other's lines
            notes.write(f"{line}\\n")
    return value
"""
"""A module that writes down which of the marked lines have run, in whatever process."""
MODULE = "lines_that_ran"


class Arm(NamedTuple):
    """An expression inside another one, that runs in some cases only."""

    node: ast.AST
    """What it is a part of."""
    part: str
    place: int | None
    """Which one of several such parts."""

    @property
    def expression(self) -> ast.expr:
        """The arm itself."""
        part = getattr(self.node, self.part)
        expression: ast.expr = part if self.place is None else part[self.place]
        return expression

    @property
    def position(self) -> str:
        """Where it begins and ends, `LINE:COLUMN-LINE:COLUMN`: another may begin there too."""
        at = self.expression
        return f"{at.lineno}:{at.col_offset + 1}-{at.end_lineno}:{at.end_col_offset}"

    def wrap(self, note: str) -> None:
        """Has the arm write a note when it has run."""
        call: ast.Call = ast.parse(f"__has_run__({note!r})", mode="eval").body  # type: ignore[assignment]
        ast.copy_location(call, self.expression)  # so its position stays what it was
        call.args.append(self.expression)
        if self.place is None:
            setattr(self.node, self.part, call)
        else:
            getattr(self.node, self.part)[self.place] = call


@dataclass(eq=False)
class Edit:
    """A statement of one version that the other has not."""

    line: int
    block: Block
    """Where it shows that the statement runs."""
    before: ast.AST | None
    """Of that block; None where there is nothing that could run, or it makes no difference."""
    arms: list[Arm] = field(default_factory=list)
    """Those of its arms that differ."""
    fixed: dict[str, str] = field(default_factory=dict)
    """What it gives a value once and for all: constants, fields and arguments with defaults."""
    numbers: list[str] = field(default_factory=list)
    """The numbers in it, with their signs."""
    inside: bool = False
    """It stands in a function."""
    settles: bool = False
    """It gives something a value in a way that no name shows, or numbers another order."""


class Edits(NamedTuple):
    """What differs between two versions of a file."""

    old: list[Edit]
    new: list[Edit]
    fixed: tuple[dict[str, str], dict[str, str]]
    """The values that each version's statements outside functions give, by name; the last wins."""

    def __bool__(self) -> bool:
        return bool(self.old or self.new)

    @property
    def revalued(self) -> list[int]:
        """Lines that give something a value which it has otherwise in the other version.

        That such a line has run shows nothing: other results may come from the same value.
        """
        before, after = self.fixed
        pairs = [(edit, after) for edit in self.old] + [(edit, before) for edit in self.new]
        lines = {
            edit.line
            for edit, others in pairs
            if edit.settles or any(others.get(name, v) != v for name, v in edit.fixed.items())
        }
        return sorted(lines)


def renumbered(every: Sequence[Edits]) -> list[Edit]:
    """Returns new edits that have numbers which are in no old one, of all files together.

    Where none vanishes, constants may be new; but no number in a function.
    """
    old = [edit for edits in every for edit in edits.old]
    new = [edit for edits in every for edit in edits.new]
    before, after = (Counter(n for edit in side for n in edit.numbers) for side in (old, new))
    extra = after - before
    replaced = bool(before - after)
    return [
        edit
        for edit in new
        if any(number in extra for number in edit.numbers) and (replaced or edit.inside)
    ]


def differences(old: ast.Module, new: ast.Module) -> Edits:
    """Returns what differs between two versions of a file."""
    edits = Edits([], [], (_all_fixed(old.body, ""), _all_fixed(new.body, "")))
    _compare(old, new, "body", "", edits)
    return edits


def mark(tree: ast.Module, edits: list[Edit], name: str) -> str:
    """Returns the file's text with a note for each edit, `NAME:LINE`, that it has run.

    Of an arm the note has its position in the place of the line.
    """
    for arm in [arm for edit in edits for arm in edit.arms]:
        arm.wrap(f"{name}:{arm.position}")
    for edit in edits:
        if edit.before is not None:
            at, note = edit.block.index(edit.before), f"{name}:{edit.line}"
            edit.block[at:at] = ast.parse(f"__has_run__({note!r})").body
    first = next((at for at, node in enumerate(tree.body) if not _opens(node)), len(tree.body))
    tree.body[first:first] = ast.parse(f"from {MODULE} import has_run as __has_run__").body
    return ast.unparse(ast.fix_missing_locations(tree))


def marked(edits: list[Edit], name: str) -> list[str]:
    """Returns the notes that there are where all of the edits have run."""
    lines = [str(edit.line) for edit in edits if edit.before is not None]
    return [f"{name}:{at}" for at in lines + [arm.position for edit in edits for arm in edit.arms]]


def prepare_notes(source: Path) -> None:
    """Puts what writes the notes into a folder that Python imports from."""
    (source / f"{MODULE}.py").write_text(NOTES)


def notes(source: Path) -> set[str]:
    """Returns the notes of all that has run."""
    path = source / f"{MODULE}.txt"
    return set(path.read_text().splitlines()) if path.exists() else set()


def _compare(
    old: ast.AST | None, new: ast.AST | None, inside: str, scope: str | None, edits: Edits
) -> None:
    """Compares a block of two nodes; where one of them is missing, all of the other's differs."""
    one, other = _block(old, inside), _block(new, inside)
    olds, news = _live(one), _live(other)
    pairs = SequenceMatcher(None, [*map(_header, olds)], [*map(_header, news)], autojunk=False)
    for same, i, k, j, n in pairs.get_opcodes():
        for a, b in _paired(olds[i:k], news[j:n]):
            if same != "equal":
                needs_run = not (a and b and _need_no_run(a, b))
                edits.old.extend(_edit(a, b, one, scope, needs_run))
                edits.new.extend(_edit(b, a, other, scope, needs_run))
            for part in INSIDE:
                _compare(a, b, part, _scope_in(a or b, scope), edits)


def _paired(
    olds: list[ast.AST], news: list[ast.AST]
) -> Iterator[tuple[ast.AST | None, ast.AST | None]]:
    """Pairs of nodes of a kind, in turn, and those that are left over."""
    left = list(news)
    for old in olds:
        new = next((node for node in left if type(node) is type(old)), None)
        if new is not None:
            left.remove(new)
        yield old, new
    for new in left:
        yield None, new


def _edit(
    node: ast.AST | None, other: ast.AST | None, block: Block, scope: str | None, needs_run: bool
) -> list[Edit]:
    """The edit that one version's node is, where the other version has another one or none."""
    if node is None:
        return []
    before: ast.AST | None = None if _opens(node) else node
    if isinstance(node, CLAUSES):
        block = _block(node, "body")
        before = next(iter(_live(block)), None)
    line = (node.pattern if isinstance(node, ast.match_case) else node).lineno  # type: ignore[attr-defined]
    if not needs_run:
        return [Edit(line, block, None, fixed=_fixed(node, scope))]
    numbers, others = _numbers(node), _numbers(other)
    reordered = numbers != others and sorted(numbers) == sorted(others)
    edit = Edit(
        line,
        block,
        before,
        arms=_new_arms(node, other),
        fixed=_fixed(node, scope),
        numbers=numbers,
        inside=scope is None,
        settles=reordered or _settles(node, other, scope),
    )
    return [edit]


def _settles(node: ast.AST, other: ast.AST | None, scope: str | None) -> bool:
    """Whether a statement outside functions gives something a value, and not to a plain name."""
    if isinstance(node, ast.ClassDef):
        return isinstance(other, ast.ClassDef) and _bases(node) != _bases(other)
    if scope is None or isinstance(node, FUNCTIONS):
        return False
    if isinstance(node, ast.Expr):
        return True
    return any(not isinstance(target, ast.Name) for target in _targets(node))


def _bases(node: ast.ClassDef) -> list[str]:
    return [ast.dump(base) for base in (*node.bases, *node.keywords)]


def _new_arms(node: ast.AST, other: ast.AST | None) -> list[Arm]:
    """The arms of a node's header that another node's header has not."""
    left = Counter(map(_key, _arms(other)))
    found = []
    for arm in _arms(node):
        left[key := _key(arm)] -= 1
        if left[key] < 0:
            found.append(arm)
    return found


def _key(arm: Arm) -> tuple[str, str, str]:
    """What makes an arm the same one in both versions: what it says, and what decides on it."""
    decides = getattr(arm.node, "test", arm.node)
    return arm.part, ast.dump(arm.expression), ast.dump(decides)


def _arms(node: ast.AST | None) -> list[Arm]:
    """All arms in a node's header; an arm's own arms come after it."""
    found: list[Arm] = []
    for part in _walk_header(node):
        match part:
            case ast.IfExp():
                found += [Arm(part, "body", None), Arm(part, "orelse", None)]
            case ast.Lambda():
                found += [Arm(part, "body", None)]
            case ast.BoolOp():
                found += [Arm(part, "values", place) for place in range(1, len(part.values))]
            case ast.Compare():
                chain = range(1, len(part.comparators))
                found += [Arm(part, "comparators", place) for place in chain]
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                made = [name for name in ("elt", "key", "value") if name in part._fields]
                found += [Arm(part, name, None) for name in made]
                found += [Arm(inner, "iter", None) for inner in part.generators[1:]]
            case ast.comprehension():
                found += [Arm(part, "ifs", place) for place in range(len(part.ifs))]
    return found


def _numbers(node: ast.AST | None) -> list[str]:
    """The numbers and truth values in a node's header, with their signs, in order."""
    parts = list(_walk_header(node))
    negative = [
        part.operand
        for part in parts
        if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub)
    ]
    return [
        f"{'-' * negative.count(part)}{part.value!r}"
        for part in parts
        if isinstance(part, ast.Constant) and isinstance(part.value, int | float | complex)
    ]


def _walk_header(node: ast.AST | None) -> Iterator[ast.AST]:
    """All that is in a node but for the statements inside it."""
    for name, value in ast.iter_fields(node) if node is not None else ():
        for part in value if isinstance(value, list) else [value]:
            if name not in INSIDE and isinstance(part, ast.AST):
                yield from ast.walk(part)


def _fixed(node: ast.AST, scope: str | None) -> dict[str, str]:
    """What a statement outside functions gives a value."""
    if scope is None:
        return {}
    if isinstance(node, FUNCTIONS):
        names = node.args
        by_place = [*names.posonlyargs, *names.args]
        defaults = [
            *zip(by_place[len(by_place) - len(names.defaults) :], names.defaults, strict=True),
            *zip(names.kwonlyargs, names.kw_defaults, strict=True),
        ]
        return {f"{scope}{node.name}({arg.arg})": ast.dump(to) for arg, to in defaults if to}
    return {f"{scope}{ast.unparse(target)}": _header(node) for target in _targets(node)}


def _targets(node: ast.AST) -> list[ast.expr]:
    """What a statement assigns to."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target for target in targets if target is not None]


def _all_fixed(block: Sequence[ast.AST], scope: str | None) -> dict[str, str]:
    """What all statements outside functions give a value."""
    found: dict[str, str] = {}
    for node in block:
        found |= _fixed(node, scope)
        inner = _scope_in(node, scope)
        for part in INSIDE if inner is not None else ():
            found |= _all_fixed(_block(node, part), inner)
    return found


def _scope_in(node: ast.AST | None, scope: str | None) -> str | None:
    """The names of the classes round a statement; None in a function, where nothing is fixed."""
    if isinstance(node, ast.ClassDef) and scope is not None:
        return f"{scope}{node.name}."
    return None if isinstance(node, FUNCTIONS) else scope


def _header(node: ast.AST) -> str:
    """A node's syntax without the statements inside it."""
    fields = {name: value for name, value in ast.iter_fields(node) if name not in INSIDE}
    return ast.dump(type(node)(**fields, **{name: [] for name in INSIDE if name in node._fields}))


def _need_no_run(old: ast.AST, new: ast.AST) -> bool:
    """Whether these raise the same error with another text, or are one function typed otherwise."""
    return isinstance(old, (ast.Raise, *FUNCTIONS)) and _essence(old) == _essence(new)


def _essence(node: ast.AST) -> str:
    """The header of a function without its types, or of a `raise` without its words."""
    copy = ast.parse(ast.unparse(node)).body[0]
    for part in ast.walk(copy):
        if isinstance(node, ast.Raise) and isinstance(part, ast.Constant):
            part.value = "" if isinstance(part.value, str) else part.value
        elif isinstance(part, ast.arg):
            part.annotation = None
        elif isinstance(part, FUNCTIONS):
            part.returns = None
    return _header(copy)


def _block(node: ast.AST | None, inside: str) -> Block:
    return getattr(node, inside, [])


def _live(block: Block) -> Block:
    """Those that do something when they run."""
    return [node for node in block if not _is_inert(node)]


def _is_inert(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)  # a docstring, or an ellipsis
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING" and not node.orelse
    return isinstance(node, ast.Pass)


def _opens(node: ast.AST) -> bool:
    """Whether a statement has to stand at the top of its file."""
    future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
    return future or (isinstance(node, ast.Expr) and _is_inert(node))
