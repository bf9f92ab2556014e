"""The gallery as text: which samples, which images, how large. A browser tries it elsewhere."""

import base64
import html
import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from changed_shards import replace_shard
from PIL import Image

from miex.datasets.dataset_format import MANIFEST, SCHEMA, DatasetFolder, decode_frames
from miex.pipeline.reports.gallery import gallery_section, image_uri


def data_of(section):
    return json.loads(re.search(r'class="gallery-data">(.*?)</script>', section, re.S).group(1))


def picture(address):
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def test_there_is_none_without_a_dataset():
    assert gallery_section(None) == ""


def test_there_is_none_without_samples(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["shards"] = []
    assert gallery_section(DatasetFolder(folder, manifest)) == ""


def test_pairs_are_shown_as_stored(tiny_dataset):
    section = gallery_section(DatasetFolder.open(tiny_dataset), samples=6)
    stored = {row["sample_id"]: row for row in DatasetFolder.open(tiny_dataset).rows()}
    entries = data_of(section)["samples"]
    assert len(entries) == 6
    addresses = re.findall(r'class="gallery-(onset|apex)" src="([^"]+)"', section)
    for place, entry in enumerate(entries):
        row = stored[entry["row"]["sample_id"]]
        for (kind, address), frame in zip(
            addresses[2 * place : 2 * place + 2], row["frames"], strict=True
        ):
            assert kind == ("onset" if frame is row["frames"][0] else "apex")
            assert address == image_uri(frame["bytes"])
        assert set(entry["row"]) == set(SCHEMA.names)
        assert entry["row"]["frames"] == [
            {"path": frame["path"], "bytes": len(frame["bytes"])} for frame in row["frames"]
        ]


def test_the_first_samples_show_every_class_and_source(tiny_dataset):
    section = gallery_section(DatasetFolder.open(tiny_dataset))
    cards = re.findall(r'data-emotion="(\w+)" data-source="([^"]+)"', section)
    assert len(set(cards[:6])) == 6


def test_the_difference_is_the_change_amplified(tiny_dataset):
    dataset = DatasetFolder.open(tiny_dataset)
    section = gallery_section(dataset, samples=3)
    gain = int(re.search(r"difference &times; (\d+)", section).group(1))
    for entry in data_of(section)["samples"]:
        onset, apex = decode_frames(dataset.row(entry["row"]["sample_id"])).astype(float)
        shown = picture(entry["difference"][1]).astype(float)
        expected = np.clip(128 + gain * (apex - onset), 0, 255)
        assert np.abs(shown - expected).mean() < 8
        assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.8


def test_long_samples_keep_onset_apex_and_last_frame(make_dataset, tmp_path):
    dataset = DatasetFolder.open(make_dataset(tmp_path / "d", identities=1, frames=30))
    for entry in data_of(gallery_section(dataset))["samples"]:
        numbers = entry["numbers"]
        assert numbers[0] == 0
        assert numbers[-1] == 29
        assert len(numbers) == len(set(numbers)) <= 8
        assert numbers[entry["apex"]] == entry["row"]["apex_index"]
        # Onset and apex are in the page already; the onset has no change to show.
        present = [image is not None for image in entry["frames"]]
        assert present == [place not in (0, entry["apex"]) for place in range(len(numbers))]
        assert [image is None for image in entry["flow"]] == [n == 0 for n in numbers]


@pytest.mark.slow
def test_large_frames_do_not_make_a_large_page(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=12, size=320)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["inputs"]["faces"]["size"] = 320
    (folder / MANIFEST).write_text(json.dumps(manifest))
    section = gallery_section(DatasetFolder.open(folder))
    assert len(section) < 7_000_000
    entries = data_of(section)["samples"]
    assert 6 <= len(entries) < 72
    assert picture(entries[0]["flow"][1]).shape == (256, 256, 3)


def test_unmeasured_aus_stay_unmeasured(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1)
    for path in DatasetFolder.open(folder).shards:
        rows = pq.read_table(path).to_pylist()
        for row in rows:
            row["aus"] = [[float("nan"), *vector[1:]] for vector in row["aus"]]
        replace_shard(path, pa.Table.from_pylist(rows, schema=SCHEMA))
    for entry in data_of(gallery_section(DatasetFolder.open(folder)))["samples"]:
        assert [vector[0] for vector in entry["row"]["aus"]] == [None, None]


def test_equal_datasets_have_equal_galleries_but_for_their_place(make_dataset, tmp_path):
    folders = [make_dataset(tmp_path / name, identities=2) for name in ("one", "two")]
    first, second = (gallery_section(DatasetFolder.open(folder), samples=6) for folder in folders)
    assert f"miex redraw {folders[0]}" in html.unescape(first)
    assert first.replace(str(folders[0]), "") == second.replace(str(folders[1]), "")
    assert gallery_section(DatasetFolder.open(folders[0]), samples=6, seed=1) != first


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"seed": -1}])
def test_arguments_out_of_range_are_named(tiny_dataset, wrong):
    with pytest.raises(ValueError, match="expected at least 1"):
        gallery_section(DatasetFolder.open(tiny_dataset), **wrong)


@pytest.mark.parametrize("damaged", [1, 6])
def test_samples_that_cannot_be_decoded_are_named(make_dataset, tmp_path, damaged):
    folder = make_dataset(tmp_path / "d", identities=1)
    broken = []
    for path in DatasetFolder.open(folder).shards:
        rows = pq.read_table(path).to_pylist()
        for row in rows[: damaged - len(broken)]:
            row["frames"][1]["bytes"] = b"no image"
            broken.append(row["sample_id"])
        replace_shard(path, pa.Table.from_pylist(rows, schema=SCHEMA))
    section = gallery_section(DatasetFolder.open(folder))
    if damaged == 6:
        assert section == ""
    else:
        assert f"no readable image: {broken[0]}." in section
        shown = [entry["row"]["sample_id"] for entry in data_of(section)["samples"]]
        assert len(shown) == 5
        assert broken[0] not in shown
