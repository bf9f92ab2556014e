"""Fixtures of reports in a real browser."""

from collections.abc import Iterator
from typing import Any

import pytest

from miex.pipeline.reports.report import write_report

FIRST = ".gallery-card:not([hidden]) .gallery-view"
"""Selector of the views of the cards that are not hidden."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One tab of a headless browser for the whole module."""
    pytest.importorskip("websockets", reason="comes with prefect; the tests talk to the browser")
    import browser

    program = browser.chromium()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(browser.NAMES)} is on the path")
    with browser.open_page(program) as page:
        yield page


@pytest.fixture(scope="module")
def reports(make_dataset, tmp_path_factory):
    """Reports on pairs and on films, by name."""
    folder = tmp_path_factory.mktemp("reports")
    pairs = make_dataset(folder / "pairs", identities=8, name="pairs")
    films = make_dataset(folder / "films", identities=2, frames=10, name="films")
    return {"pairs": write_report(pairs), "films": write_report(films)}


@pytest.fixture
def page(chromium):
    chromium.complaints.clear()
    chromium.requests.clear()
    chromium.size(1280, 800)
    chromium.media("")
    # Off the cards: a mouse that rests on one flips it.
    chromium.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    yield chromium
    assert chromium.complaints == []
    assert chromium.requests == []


@pytest.fixture
def pairs(page, reports):
    page.open(reports["pairs"])
    return page


@pytest.fixture
def films(page, reports):
    page.open(reports["films"])
    return page
