"""The contact sheet shows a balanced choice of samples, and where their faces move."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miex.datasets.dataset_format import MANIFEST, DatasetFolder, decode_frames
from miex.pipeline.reports import selection
from miex.pipeline.reports.motion_panel import flow_length, measure_flow, motion_panel
from miex.pipeline.reports.selection import choose_samples, source_label
from miex.pipeline.reports.sheet import CLASS_COLOURS, contact_sheet, draw_contact_sheet


def test_a_sheet_lies_in_the_dataset_and_stays_narrow(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=2)
    path = contact_sheet(folder)
    assert path == folder / "sheet.png"
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert 1200 < image.width <= 2000
        assert image.height > 6 * 256


def test_equal_datasets_have_equal_sheets(make_dataset, tmp_path):
    sheets = [
        contact_sheet(make_dataset(tmp_path / name, identities=2), samples=6).read_bytes()
        for name in ("a", "b")
    ]
    assert sheets[0] == sheets[1]


def test_another_seed_and_place_show_other_samples(tiny_dataset, tmp_path):
    first = contact_sheet(tiny_dataset, tmp_path / "deep" / "first.png", samples=3)
    other = contact_sheet(tiny_dataset, tmp_path / "other.png", samples=3, seed=5)
    assert first.read_bytes() != other.read_bytes()
    assert not (tiny_dataset / "sheet.png").exists()


def test_longer_samples_are_shown_as_strips(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1, frames=10, image_format="webp")
    sheet = draw_contact_sheet(DatasetFolder.open(folder), samples=2)
    assert 6 * 256 < sheet.width <= 2000


def test_the_frames_on_the_sheet_are_those_of_the_dataset(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1, size=256)
    dataset = DatasetFolder.open(folder)
    (row,) = choose_samples(dataset, 1, seed=0)
    sheet = np.asarray(draw_contact_sheet(dataset, samples=1))
    onset = decode_frames(row)[0]
    # The label in the lower left corner lies over the frame.
    window = sheet[176 : 176 + 220, 48 : 48 + 256]
    np.testing.assert_array_equal(window, onset[:220])


def test_the_choice_is_balanced_over_classes_sources_and_identities(tiny_dataset):
    rows = choose_samples(DatasetFolder.open(tiny_dataset), 12, seed=0)
    assert len({row["sample_id"] for row in rows}) == 12
    assert Counter(row["emotion"] for row in rows) == dict.fromkeys(
        ("negative", "positive", "surprise"), 4
    )
    assert Counter(source_label(row) for row in rows) == {
        "expert table miex": 6,
        "expert table casme3": 6,
    }
    assert set(Counter(row["identity"] for row in rows).values()) == {3}
    assert [row["label"] for row in rows] == sorted(row["label"] for row in rows)


def test_a_number_that_does_not_divide_keeps_the_classes_balanced(tiny_dataset):
    rows = choose_samples(DatasetFolder.open(tiny_dataset), 9, seed=3)
    assert set(Counter(row["emotion"] for row in rows).values()) == {3}


def test_the_choice_looks_at_a_bounded_number_of_rows(tiny_dataset, monkeypatch):
    monkeypatch.setattr(selection, "_CANDIDATES", 10)
    dataset = DatasetFolder.open(tiny_dataset)
    rows = choose_samples(dataset, 24, seed=0)
    assert len(rows) == 10
    assert rows == choose_samples(dataset, 24, seed=0)
    assert all(row == dataset.row(row["sample_id"]) for row in rows[:2])


def test_source_labels_name_the_database_or_the_table():
    row = {"au_source": "real_mie", "source_dataset": "casme2", "au_estimator": "openface 2.2"}
    assert source_label(row) == "real micro-expressions of casme2"
    expert = {"au_source": "expert", "source_dataset": None}
    assert source_label(expert | {"au_estimator": "table miex 1 (sha256 0)"}) == "expert table miex"
    assert source_label(expert | {"au_estimator": None}) == "expert table"


def test_the_motion_panel_is_bright_where_something_moves():
    rng = np.random.default_rng(0)
    onset = np.asarray(
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).resize((64, 64), 3)
    )
    apex = onset.copy()
    apex[:, :32] = np.roll(onset, 1, axis=0)[:, :32]
    flow = measure_flow(onset, apex)
    assert flow_length(flow)[20:44, 6:20].mean() == pytest.approx(1.0, abs=0.2)
    panel = np.asarray(motion_panel(np.full_like(onset, 60), flow, 1.0, 128)).astype(int)
    assert panel[40:88, 12:40, 0].mean() > panel[40:88, 90:, 0].mean() + 80


@pytest.mark.parametrize("arguments", [{"samples": 0}, {"seed": -1}])
def test_what_does_not_fit_is_refused(tiny_dataset, tmp_path, arguments):
    with pytest.raises(ValueError, match="expected at least"):
        contact_sheet(tiny_dataset, tmp_path / "s.png", **arguments)
    assert not list(tmp_path.iterdir())


def test_no_dataset_no_sheet(tmp_path):
    with pytest.raises(FileNotFoundError, match="no finished miex dataset"):
        contact_sheet(tmp_path)


def test_an_empty_dataset_says_so(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=0)
    with pytest.raises(ValueError, match="no sample to show"):
        contact_sheet(folder)


def test_a_damaged_shard_is_named(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1)
    shard = sorted((folder / "data").iterdir())[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"{shard.name} is damaged.*miex synthesize"):
        contact_sheet(folder)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=f"{shard.name} is missing.*miex verify"):
        contact_sheet(folder)


def test_a_manifest_that_promises_more_rows_is_caught(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["shards"][1]["rows"] += 5
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="the manifest says 11"):
        contact_sheet(folder, Path(tmp_path / "s.png"))


@pytest.mark.parametrize("colour", CLASS_COLOURS)
def test_white_text_is_readable_on_every_class_colour(colour):
    """Contrast of at least 4.5, as WCAG 2.2 asks for (success criterion 1.4.3)."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.5
