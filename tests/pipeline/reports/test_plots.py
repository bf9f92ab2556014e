"""What every plot of the report must do; a new one is tested by being registered."""

import csv
import json

import pytest
from outside_package import Install

from miex.pipeline.reports.plots.base import draw_plots, plot_names
from miex.pipeline.reports.report import examine, write_report


@pytest.fixture(scope="module")
def evidence(tiny_dataset):
    return examine([tiny_dataset]).evidence


@pytest.mark.parametrize("name", plot_names())
def test_it_says_what_it_shows(evidence, name):
    plots = draw_plots(evidence)
    assert plots.problems == {}
    plot = plots.drawn[name]
    assert plot.title
    assert plot.note.endswith(".")
    assert "<svg" in str(plot.figure)
    assert 'role="img"' in plot.figure
    assert "aria-label=" in plot.figure
    assert plot.numbers
    assert all(isinstance(row, dict) for row in plot.numbers)


def test_shares_by_number_of_aus_are_those_of_the_samples(evidence):
    plot = draw_plots(evidence).drawn["cardinality"]
    assert sum(row[evidence.samples.name] for row in plot.numbers) == pytest.approx(1)
    mean = sum(row["active_aus"] * row[evidence.samples.name] for row in plot.numbers)
    assert mean == pytest.approx(evidence.groups["all", "all"].mean_active)


def test_plots_of_other_packages_are_shown_and_a_broken_one_costs_itself(
    make_dataset, tmp_path, install: Install
):
    source = """
from markupsafe import Markup
from miex.pipeline.reports.plots.base import Plot

def draw(evidence):
    figure = Markup('<svg role="img" aria-label="theirs"></svg>')
    return Plot("Their plot", "It shows nothing.", figure, [{"samples": len(evidence.samples)}])

def fail(evidence):
    return 1 / 0
"""
    install("miex.plots", {"theirs": "draw", "fails": "fail"}, source)
    install("miex.plots", {"broken": "draw"}, "import no_such_module")
    folder = make_dataset(tmp_path / "d", identities=2)
    report = write_report(folder)
    text = report.read_text(encoding="utf-8")
    assert '<h3 id="plot-theirs">Their plot</h3>' in text
    assert "ZeroDivisionError" in text
    assert "No module named" in text
    assert '<h3 id="plot-cardinality">' in text
    numbers = json.loads((report.parent / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["plot_theirs"] == [{"samples": 12}]
    with (report.parent / "plot_cardinality.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(numbers["plot_cardinality"])
