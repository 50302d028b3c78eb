"""Writes what several variants of C have scored, beside each other and beside the paper's."""

from collections.abc import Sequence

from pipelines.context import Context
from world_models.reporting.charts import save_chart
from world_models.reporting.tables import Row, figures, markdown, series


def write(context: Context, name: str, heading: str, rows: Sequence[Row]) -> None:
    """Writes NAME.csv, NAME.md and NAME.png, and logs the means as the run's metrics.

    `heading` says what the rows' names are.
    """
    context.write_table(f"{name}.csv", [figures(heading, row) for row in rows])
    context.write_text(f"{name}.md", markdown(heading, rows))
    picture = context.files.report(f"{name}.png")
    save_chart(picture, heading, [row.name for row in rows], series(rows))
    context.tracking.log_artifact(picture)
    for row in rows:
        context.tracking.log_metrics({f"{row.name}/{w}/mean": s.mean for w, s in row.own.items()})
