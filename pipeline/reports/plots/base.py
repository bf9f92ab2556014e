"""Find the plots that a report shows besides its fixed parts.

A new plot is one new file here, or a function that another installed package names in its entry
points `miex.plots`:

    @register_plot("name")
    def draw_name(evidence: Evidence) -> Plot | None: ...

The report shows every plot under its title, and writes its numbers to `plot_NAME.csv`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from miex.datasets.registry import Registry, modules_in
from miex.pipeline.reports.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of a report.

    Attributes:
        title: Its heading.
        note: One or two sentences that say what is shown, in which unit.
        figure: Inline SVG that takes its colours from the page and names what it shows in
            `aria-label`; `miex.pipeline.reports.charts` draws bars, histograms and scatter plots,
            and its `both` draws them for a wide page and for a phone. A chart that is drawn once
            scrolls on a phone.
        numbers: The numbers that are drawn, one flat dictionary for each row of the CSV file.
    """

    title: str
    note: str
    figure: Markup
    numbers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Plots:
    """The plots of a report.

    Attributes:
        drawn: By name, without those that have nothing to show.
        problems: What went wrong, by the names of plots of other packages.
    """

    drawn: Mapping[str, Plot]
    problems: Mapping[str, str]


Factory = Callable[[Evidence], Plot | None]


def _modules() -> dict[str, str]:
    return modules_in("miex.pipeline.reports.plots", Path(__file__).parent)


_PLOTS = Registry[Factory]("plot", _modules, "miex.plots")

register_plot = _PLOTS.register
"""Register a function that draws a plot under the name of its file."""

plot_names = _PLOTS.names
"""Return the names of all plots, sorted."""

plot_places = _PLOTS.places
"""Return the module or package of each plot, see `Registry.places`."""


def draw_plots(evidence: Evidence) -> Plots:
    """Draw every plot; none of a report without samples.

    An error in a plot of another package is a problem to report; it must not cost the report.
    """
    plots: dict[str, Plot] = {}
    problems: dict[str, str] = {}
    own = _modules()
    for name in plot_names() if len(evidence.samples) else ():
        try:
            plot = _PLOTS.find(name)(evidence)
        except Exception as error:
            if plot_places()[name] == own.get(name):
                raise
            problems[name] = f"{type(error).__name__}: {error}"
        else:
            if plot is not None:
                plots[name] = plot
    return Plots(plots, problems)
