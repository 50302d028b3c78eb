"""The stages of dvc.yaml: each reads its own parameters, builds, calls and writes its outputs."""

import sys
from pathlib import Path

# The code beside this file is what runs, also where DVC runs an experiment in a copy of the
# project: the installed package is that of the project's own folder, which may have moved on.
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
