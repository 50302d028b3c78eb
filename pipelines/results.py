"""Stage results: the page of all kept runs. It is of no round, and no run of MLflow is made."""

import sys
from pathlib import Path

from world_models.reporting.kept import kept_runs, ppo_runs
from world_models.reporting.results import page, save_learning, save_returns
from world_models.runtime.errors import WorldModelsError
from world_models.runtime.files import atomic_write

RESULTS = Path("results")
"""Where kept runs lie."""
PAGE = Path("reports", "results")
"""Where the page and its pictures lie."""
FIRST_WORDS = """# Results

Made by `dvc repro results` from the runs under `results/`. A run has a scale, which says how much
was spent, a round (`carracing-2` is CarRacing's second), and a seed.

"""


def main() -> None:
    """Writes the page, or says in one line why it can't."""
    try:
        runs, ppo = kept_runs(RESULTS), ppo_runs(RESULTS)
    except WorldModelsError as error:
        sys.exit(f"results: {error}")
    with atomic_write(PAGE) as aside:
        aside.mkdir()
        (aside / "README.md").write_text(FIRST_WORDS + page(runs, ppo), encoding="utf-8")
        if runs:
            save_learning(aside / "learning.png", runs)
            save_returns(aside / "returns.png", runs)


if __name__ == "__main__":
    main()
