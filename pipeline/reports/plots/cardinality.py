"""Draw how many AUs are active at a time, beside real databases."""

import numpy as np

from miex.pipeline.reports.charts import both, count_bars
from miex.pipeline.reports.evidence import Evidence
from miex.pipeline.reports.plots.base import Plot, register_plot
from miex.pipeline.reports.statistics import ALL


@register_plot("cardinality")
def draw_cardinality(evidence: Evidence) -> Plot | None:
    """Draw the share of samples by number of active AUs, with marks of real databases."""
    group = evidence.groups[ALL, ALL]
    shares = (group.cardinality / group.samples).tolist()
    real = [*evidence.real, *evidence.beside]
    last = max(
        int(np.flatnonzero(group.cardinality)[-1]),
        *(count for database in real for count in database.cardinality),
        0,
    )
    rows = [
        {
            "active_aus": count,
            evidence.samples.name: shares[count],
            **{one.name: one.cardinality.get(count, 0.0) for one in real if one.cardinality},
        }
        for count in range(last + 1)
    ]
    return Plot(
        title="How many Action Units at a time",
        note="Bars: share of the samples by their number of active AUs. Marks: share of the clips"
        " of real databases, where it is known, with the signs of the plot of single AUs.",
        figure=both(
            lambda frame: count_bars(shares[: last + 1], real, evidence.samples.name, frame)
        ),
        numbers=rows,
    )
