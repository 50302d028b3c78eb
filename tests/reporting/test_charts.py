"""Charts look as they do whatever a user has Matplotlib do for other work."""

import matplotlib

from world_models.reporting.charts import Interval, Series, save_chart

OTHER_WORK = """
font.size: 20
axes.grid: True
savefig.transparent: True
"""


def test_a_users_matplotlibrc_changes_no_chart(tmp_path):
    (tmp_path / "matplotlibrc").write_text(OTHER_WORK)
    series = [Series("in the game", [Interval(2, 1, 3), None], "tab:blue", hollow=False)]
    save_chart(tmp_path / "plain.png", "tau", ["0.1", "1.0"], series)
    with matplotlib.rc_context(fname=tmp_path / "matplotlibrc"):
        save_chart(tmp_path / "other.png", "tau", ["0.1", "1.0"], series)
    assert (tmp_path / "other.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
