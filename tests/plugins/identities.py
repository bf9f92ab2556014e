"""How many samples each identity has."""

from collections import Counter

from miex.pipeline.reports.charts import both, histogram_chart
from miex.pipeline.reports.evidence import Evidence
from miex.pipeline.reports.plots.base import Plot, register_plot
from miex.pipeline.reports.statistics import histogram, summarise


@register_plot("identities")
def draw_identities(evidence: Evidence) -> Plot | None:
    """Draw the histogram of the samples per identity; nothing without identities."""
    counts = Counter(evidence.faces.samples_of)
    if not counts:
        return None
    values = [float(count) for count in counts.values()]
    title = "Samples of each identity"
    return Plot(
        title=title,
        note="Number of identities by how many samples show them.",
        figure=both(
            lambda frame: histogram_chart(
                histogram(values), summarise(values), "samples", title, frame=frame
            )
        ),
        numbers=[{"identity": name, "samples": count} for name, count in counts.items()],
    )
