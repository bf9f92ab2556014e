"""The layout of the report in a real browser: screens, phones, paper."""

import pytest
from report_pages import FIRST


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen(page, reports, width, scheme):
    page.size(width, 844)
    page.media(prefers_color_scheme=scheme)
    page.open(reports["pairs"])
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    page.click(FIRST)
    assert page.run(
        """(() => { const panel = document.querySelector('.gallery-panel');
        const box = panel.getBoundingClientRect();
        return box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight
          && panel.scrollWidth <= panel.clientWidth })()"""
    )


def test_paper_shows_onset_beside_apex(pairs):
    pairs.media("print")
    boxes = pairs.run(
        """['onset', 'apex'].map((name) => {
        const image = document.querySelector('.gallery-' + name);
        const box = image.getBoundingClientRect();
        return [box.left, box.right, box.top, getComputedStyle(image).visibility] })"""
    )
    assert boxes[0][1] <= boxes[1][0]
    assert boxes[0][2] == boxes[1][2]
    assert boxes[0][3] == boxes[1][3] == "visible"
    assert not pairs.run("document.querySelector('.gallery-tools').checkVisibility()")


@pytest.mark.parametrize(("width", "shown"), [(1280, "wide"), (390, "narrow")])
def test_charts_are_drawn_for_the_width_of_the_page(pairs, width, shown):
    pairs.size(width, 900)
    hidden = {"wide": "narrow", "narrow": "wide"}[shown]
    assert pairs.run(f"document.querySelectorAll('.on-{shown} svg').length") > 5
    visible = "[...document.querySelectorAll('.on-{}')].filter(e => e.offsetHeight).length"
    assert pairs.run(visible.format(hidden)) == 0
    assert pairs.run(visible.format(shown)) > 5
    # The smallest letters of all visible drawings, in pixels of the screen.
    smallest = pairs.run(
        "Math.min(...[...document.querySelectorAll('svg text')]"
        ".filter(t => t.getBoundingClientRect().height)"
        ".map(t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))"
    )
    assert smallest >= (11 if width == 1280 else 9.5)


def test_a_chart_that_is_drawn_once_scrolls_on_a_phone(pairs):
    pairs.size(390, 900)
    pairs.run(
        "(() => { const drawn = document.querySelector('#plots .on-wide svg').cloneNode(true);"
        " document.querySelector('#plots figure').replaceChildren(drawn) })()"
    )
    box = "document.querySelector('#plots figure')"
    assert pairs.run(f"{box}.scrollWidth > {box}.clientWidth")
    text = f"{box}.querySelector('text')"
    size = f"parseFloat(getComputedStyle({text}).fontSize) * {text}.getScreenCTM().a"
    assert pairs.run(size) >= 9.5
    assert pairs.run("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_navigation_stays_in_sight(pairs, width):
    pairs.size(width, 900)
    pairs.run("document.querySelector('#aus').scrollIntoView({behavior: 'instant'})")
    top = "Math.round(document.querySelector('nav').getBoundingClientRect().top)"
    assert pairs.run("scrollY") > 500
    assert pairs.run(top) == 0
    heading = "document.querySelector('#aus h2').getBoundingClientRect().top"
    assert pairs.run(heading) >= pairs.run("document.querySelector('nav').offsetHeight")


def test_heat_maps_have_scales_and_groups_have_names(pairs):
    scales = pairs.run(
        "[...document.querySelectorAll('.on-wide .heatmap .scale')].map(e => e.textContent)"
    )
    assert scales
    assert all(text.startswith("0") and text.endswith("%") for text in scales)
    text = pairs.run("document.body.textContent")
    assert "all sources, all classes" in text
    assert "expert table casme3" in text
    assert "all, all" not in text
