"""The code blocks of README and docs, and how each is held to be true.

A block of Python, YAML or shell commands is run by a test, unless a comment just before it says
otherwise:

    <!-- run by tests/end_to_end/test_queue.py -->     another test runs these commands, as it needs
    <!-- not run: it asks the package index -->        nobody does, and why

All shell commands are read by the program that takes them, whatever becomes of their block.
"""

import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.projects import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("python", "sh", "yaml")
SHOWN = ("bibtex", "ini", "text")
"""Languages in which there is nothing to run."""
PROGRAMS = ("dvc ", "make ", "python -m ", "world-models ")
NOTE = re.compile(r"<!-- (?:run by (?P<tests>.+)|not run: (?P<reason>.+)) -->\s*")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    text: str
    tests: tuple[str, ...]
    """Files of tests that run it."""
    reason: str
    """Why nothing does."""

    @property
    def is_run(self) -> bool:
        """Whether it is to be run as it stands."""
        return self.language in RUN and not self.tests and not self.reason

    @property
    def place(self) -> str:
        """Where it is, as a test's name has it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    nothing = Token("", "", 0)
    return [
        _block(page, before, token)
        for before, token in pairwise([nothing, *tokens])
        if token.type == "fence"
    ]


def _block(page: Path, before: Token, fence: Token) -> Block:
    noted = NOTE.fullmatch(before.content) if before.type == "html_block" else None
    tests, reason = noted.groups(default="") if noted else ("", "")
    assert fence.map is not None
    line, language, others = fence.map[0] + 1, fence.info.strip(), filter(None, tests.split(", "))
    return Block(page, line, language, fence.content, tuple(others), reason)


def commands(block: Block) -> list[list[str]]:
    """The commands of a block of shell, as words; what a loop is made of is left out."""
    lines = block.text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line and line[0] not in ("for", "done")]


def commands_in_sentences(page: Path) -> list[list[str]]:
    """The commands between backticks in a page's text, but for those that leave something out."""
    tokens = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    spans = [child for token in tokens for child in token.children or ()]
    code = [span.content for span in spans if span.type == "code_inline"]
    return [shlex.split(text) for text in code if text.startswith(PROGRAMS) and "…" not in text]


ALL = [block for page in PAGES for block in blocks_of(page)]
