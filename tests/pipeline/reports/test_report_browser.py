"""The report in a real browser: it asks for nothing, complains about nothing, and everything in it
works by mouse and by keyboard."""

import shlex

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from changed_shards import replace_shard
from report_pages import FIRST

from miex.datasets.dataset_format import DatasetFolder
from miex.pipeline.reports.report import write_report


def shown(page, number=0):
    """What the card shows, and that this image and no other is visible."""
    return page.run(
        f"""(() => {{
          const view = document.querySelectorAll('{FIRST}')[{number}];
          const visible = [...view.querySelectorAll('img')].filter(
            (image) => getComputedStyle(image).visibility === 'visible');
          const name = 'gallery-' + view.dataset.shown;
          if (visible.length !== 1 || !visible[0].classList.contains(name))
            throw new Error('visible: ' + visible.map((image) => image.className));
          return view.querySelector('.gallery-tag').textContent;
        }})()"""
    )


def choose(page, selector, value):
    page.run(
        f"""(() => {{ const field = document.querySelector('{selector}'); field.value = '{value}';
        field.dispatchEvent(new Event('change', {{bubbles: true}})) }})()"""
    )


def visible_cards(page):
    return page.run(
        "[...document.querySelectorAll('.gallery-card:not([hidden])')]"
        ".map((card) => ({...card.dataset}))"
    )


def focused(page):
    return page.run("document.activeElement.getAttribute('aria-label')")


@pytest.mark.parametrize("name", ["pairs", "films"])
def test_every_plot_is_drawn_and_every_image_decoded(page, reports, name):
    page.open(reports[name])
    assert page.run(
        "Promise.all([...document.images].filter((image) => image.getAttribute('src')).map("
        "(image) => image.decode().then(() => image.naturalWidth))).then((w) => Math.min(...w))"
    )
    # What a reader sees after unfolding every detail and choosing every group.
    page.run(
        """(() => { for (const part of document.querySelectorAll('details')) part.open = true;
        for (const part of document.querySelectorAll('section:not(.gallery) [hidden]'))
          part.hidden = false })()"""
    )
    # Some charts are drawn twice, for a wide page and for a phone; one of the two is shown.
    for width, other in ((1280, ".on-narrow"), (390, ".on-wide")):
        page.size(width, 800)
        plots = page.run(
            f"""[...document.querySelectorAll('svg:not([aria-hidden=true]), .plot, canvas')]
            .map((plot) => ({{
              width: plot.getBoundingClientRect().width,
              other: plot.closest('{other}') !== null,
              marks: plot.querySelectorAll('rect, path, circle, line, polyline, polygon').length,
              broken: plot.outerHTML.includes('NaN') || plot.outerHTML.includes('undefined')}}))"""
        )
        assert {plot["other"] for plot in plots} == {False, True}
        for plot in plots:
            assert (plot["width"] > 0) != plot["other"]
            assert plot["marks"] > 0
            assert not plot["broken"]


def test_ids_are_unique_and_controls_have_names(pairs):
    assert (
        pairs.run(
            "(() => { const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);"
            "return ids.filter((id, place) => ids.indexOf(id) !== place) })()"
        )
        == []
    )
    assert (
        pairs.run(
            """[...document.querySelectorAll('#gallery button, #gallery select, #gallery input')]
        .filter((e) => !(e.getAttribute('aria-label') || e.labels?.[0]?.textContent
          || e.textContent).trim())
        .map((e) => e.outerHTML)"""
        )
        == []
    )


def test_pointing_at_a_face_flips_it(pairs):
    assert shown(pairs) == "onset"
    pairs.point(FIRST)
    assert shown(pairs) == "apex"
    pairs.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert shown(pairs) == "onset"


def test_nothing_moves_by_itself_where_the_reader_wants_no_motion(pairs):
    pairs.media(prefers_reduced_motion="reduce")
    pairs.point(FIRST)
    assert shown(pairs) == "onset"
    assert pairs.run("getComputedStyle(document.querySelector('.gallery-play')).display") == "none"
    pairs.run(f"document.querySelector('{FIRST}').focus()")
    pairs.press("f")
    assert shown(pairs) == "apex"


def test_the_keyboard_does_everything(pairs):
    pairs.run("document.querySelector('.gallery-play').focus()")
    pairs.press("Tab")
    assert focused(pairs).startswith("pairs-")
    first = focused(pairs)
    pairs.press(" ")
    assert shown(pairs) == "apex"
    assert not pairs.run("document.querySelector('.gallery-panel').open")
    pairs.press("f")
    assert shown(pairs) == "onset"
    pairs.press("ArrowRight")
    second = focused(pairs)
    assert second != first
    columns = pairs.run(
        "getComputedStyle(document.querySelector('.gallery-grid'))"
        ".gridTemplateColumns.split(' ').length"
    )
    pairs.press("ArrowDown")
    labels = pairs.run(
        "[...document.querySelectorAll('.gallery-view')]"
        ".map((view) => view.getAttribute('aria-label'))"
    )
    assert focused(pairs) == labels[1 + columns]
    pairs.press("ArrowUp")
    assert focused(pairs) == second
    pairs.press("Enter")
    assert pairs.run("document.querySelector('.gallery-panel').open")
    pairs.press("Escape")
    assert not pairs.run("document.querySelector('.gallery-panel').open")
    assert focused(pairs) == second
    # One stop in the whole grid: the next Tab leaves it.
    pairs.press("Tab")
    assert pairs.run("document.activeElement.className") == "gallery-more"


def test_the_slider_walks_through_the_frames(films):
    slider = ".gallery-card:not([hidden]) .gallery-slider"
    last = int(films.run(f"document.querySelector('{slider}').max"))
    names, images = [], set()
    films.run(f"document.querySelector('{slider}').focus()")
    for _ in range(last + 1):
        names.append(shown(films))
        images.add(
            films.run(
                "[...document.querySelector('.gallery-view').querySelectorAll('img')]"
                ".find((image) => getComputedStyle(image).visibility === 'visible').src"
            )
        )
        films.press("ArrowRight")
    assert names[0] == "onset"
    assert names[-1] == "apex, 10 of 10"
    assert len(set(names)) == len(images) == last + 1
    films.run(f"document.querySelector('{FIRST}').focus()")
    films.press(",")
    assert shown(films) == names[-2]


def test_layers_show_the_change(films):
    choose(films, ".gallery-layer", "difference")
    assert shown(films) == "apex, difference"
    assert films.run("document.querySelector('[data-layer=difference]').checkVisibility()")
    # Mid-grey where nothing changed, in the corner, and something else in the face.
    spread = films.run(
        """(async () => {
        const image = document.querySelector('.gallery-other');
        await image.decode();
        const canvas = document.createElement('canvas');
        canvas.width = canvas.height = image.naturalWidth;
        const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
        const pixels = context.getImageData(0, 0, canvas.width, canvas.width).data;
        const colours = pixels.filter((_, at) => at % 4 < 3);
        return [colours[0], Math.min(...colours), Math.max(...colours)] })()"""
    )
    assert abs(spread[0] - 128) < 6
    assert spread[1] < 100
    assert spread[2] > 160
    choose(films, ".gallery-layer", "flow")
    assert shown(films) == "apex, flow"
    choose(films, ".gallery-layer", "frames")
    assert shown(films) == "onset"


def test_filters_and_reset(pairs):
    everything = visible_cards(pairs)
    assert {card["emotion"] for card in everything} == {"negative", "positive", "surprise"}
    choose(pairs, ".gallery-class", "surprise")
    assert {card["emotion"] for card in visible_cards(pairs)} == {"surprise"}
    choose(pairs, ".gallery-source", "expert table casme3")
    kept = visible_cards(pairs)
    assert kept
    assert {card["source"] for card in kept} == {"expert table casme3"}
    pairs.click(".gallery-reset")
    assert visible_cards(pairs) == everything
    pairs.click(".gallery-identity")
    pairs.type("person_03")
    assert {card["find"].split()[0] for card in visible_cards(pairs)} == {"person_03"}
    pairs.type(" nobody")
    assert visible_cards(pairs) == []
    assert "Reset" in pairs.run("document.querySelector('.gallery-count').textContent")
    pairs.click(".gallery-reset")
    assert visible_cards(pairs) == everything


def test_more_samples_come_when_asked_for(pairs):
    assert len(visible_cards(pairs)) == 24
    pairs.click(".gallery-more")
    assert len(visible_cards(pairs)) == 48
    assert not pairs.run("document.querySelector('.gallery-more').checkVisibility()")


def test_play_flips_all(pairs):
    pairs.click(".gallery-play")
    assert (
        pairs.run(
            "new Promise((done) => setTimeout(() => done("
            f"document.querySelector('{FIRST}').dataset.shown), 900))"
        )
        == "apex"
    )
    pairs.click(".gallery-play")
    assert shown(pairs) == "onset"


def test_the_panel_tells_the_whole_provenance(pairs, reports):
    pairs.click(FIRST)
    sample = pairs.run("document.querySelector('#gallery-panel-title').textContent")
    dataset = DatasetFolder.open(reports["pairs"].parents[1])
    row = dataset.row(sample)
    told = dict(
        pairs.run(
            """[...document.querySelectorAll('.gallery-row tr')].map((line) =>
        [line.cells[0].firstChild.textContent, line.cells[1].textContent])"""
        )
    )
    assert list(told) == list(row)
    for name in ("identity", "emotion", "template_sha256", "au_estimator", "generator"):
        assert told[name] == row[name]
    assert told["seed"] == str(row["seed"])
    assert told["source_clip"] == "none"
    bars = pairs.run(
        """[...document.querySelectorAll('.gallery-aus tr')].map((line) =>
        [parseFloat(line.querySelector('i').style.width) > 0, Number(line.cells[2].textContent)])"""
    )
    requested = row["aus"][row["apex_index"]]
    assert [value for _, value in bars] == pytest.approx(requested, abs=0.006)
    assert [filled for filled, _ in bars] == [value > 0 for value in requested]


def test_the_command_that_makes_a_sample_again_is_copied(pairs, reports):
    pairs.click(FIRST)
    sample = pairs.run("document.querySelector('#gallery-panel-title').textContent")
    command = pairs.run("document.querySelector('.gallery-command code').textContent")
    assert command == f"miex redraw {reports['pairs'].parents[1]} {sample}"
    pairs.click(".gallery-copy")
    assert (
        pairs.run(
            "new Promise((done) => setTimeout(() => done("
            "document.querySelector('.gallery-copy').textContent), 300))"
        )
        == "Copied"
    )


def test_the_panel_steps_and_goes_on(films):
    films.click(FIRST)
    assert films.run("document.querySelector('[data-role=frame]').textContent") == "apex, 10 of 10"
    films.press("f")
    assert films.run("document.querySelector('[data-role=frame]').textContent") == "onset"
    films.press(".")
    assert (
        films.run("document.querySelector('[data-role=frame]').textContent") == "frame 1, 2 of 10"
    )
    title = films.run("document.querySelector('#gallery-panel-title').textContent")
    films.press("ArrowRight")
    assert films.run("document.querySelector('#gallery-panel-title').textContent") != title
    films.press("ArrowLeft")
    assert films.run("document.querySelector('#gallery-panel-title').textContent") == title
    films.click(".gallery-close")
    assert not films.run("document.querySelector('.gallery-panel').open")


def test_markup_in_names_stays_text(page, make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "<b onclick=x>'&", identities=1)
    name = "</script><i title='\"'>{{ 7 * 7 }}"
    for path in DatasetFolder.open(folder).shards:
        table = pq.read_table(path)
        place = table.schema.get_field_index("identity")
        names = pa.array([name] * len(table))
        replace_shard(path, table.set_column(place, table.schema.field("identity"), names))
    page.open(write_report(folder))
    # The scale of the heat map is an <i> of the page's own.
    assert page.run("document.querySelectorAll('b, i:not(.heat-scale > i)').length") == 0
    page.click(FIRST)
    assert name in page.run("document.querySelector('.gallery-row').textContent")
    command = page.run("document.querySelector('.gallery-command code').textContent")
    assert shlex.split(command)[2] == str(folder)
