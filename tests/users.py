"""Another user, without a name, as a container has that is run with a number."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NUMBER = 12345
# They may read whatever root may: tests' folders and this Python are root's alone.
AS_NAMELESS = (
    *("setpriv", f"--reuid={NUMBER}", f"--regid={NUMBER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
"""What a command begins with that they run."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make folders another's")


def give_away(folder: Path) -> None:
    """Makes a folder and all that is in it theirs."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NUMBER, NUMBER, follow_symlinks=False)


def can_be_nameless() -> bool:
    """Returns whether this process may run commands as they do."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return False
    return not subprocess.run([*AS_NAMELESS, "true"], capture_output=True, check=False).returncode
