import shutil
from pathlib import Path

import numpy as np
import pytest

from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.labels import LABEL_SPACES
from miex.pipeline.recognition.cache import open_inputs
from miex.pipeline.recognition.held_out import admit, require_disjoint
from miex.pipeline.recognition.landmarks import follow
from miex.pipeline.recognition.representations.frames import FramePair, FramesConfig
from miex.pipeline.recognition.shard_samples import _info, shard_blocks


def test_every_row_is_a_sample_in_order(small_dataset: Path) -> None:
    dataset = DatasetFolder.open(small_dataset)
    blocks = shard_blocks(dataset, LABEL_SPACES["three_class"])
    assert len(blocks) == len(dataset.shards) > 1
    samples = [sample for block in blocks for sample in block.load(landmarks=True)]
    infos = [info for block in blocks for info in block.infos]
    assert [sample.info for sample in samples] == infos
    rows = list(dataset.rows(["sample_id", "label", "apex_index", "landmarks"]))
    assert [info.key.partition("/")[2] for info in infos] == [row["sample_id"] for row in rows]
    assert [info.label for info in infos] == [row["label"] for row in rows]
    for sample, row in zip(samples, rows, strict=True):
        assert sample.frames.shape == (2, 128, 128, 3)
        assert sample.apex_index == row["apex_index"]
        assert sample.landmarks is not None
        np.testing.assert_array_equal(sample.landmarks[0], np.float32(row["landmarks"]))
        assert 0 < np.abs(sample.landmarks[1] - sample.landmarks[0]).max() < 20
    without = next(iter(blocks[0].load(landmarks=False)))
    assert without.landmarks is None


def test_lineage_names_template_and_aus(small_dataset: Path) -> None:
    dataset = DatasetFolder.open(small_dataset)
    info = shard_blocks(dataset)[0].infos[0]
    assert info.lineage == {("samples", info.subject)}
    of_a_database = shard_blocks(dataset, template_database="samm")[0].infos[0]
    assert of_a_database.lineage == {("samm", info.subject)}


def test_weights_and_label_spaces_are_checked(small_dataset: Path) -> None:
    dataset = DatasetFolder.open(small_dataset)
    infos = shard_blocks(dataset, weights={"expert": 0.25})[0].infos
    assert {info.weight for info in infos} == {0.25}
    with pytest.raises(ValueError, match="expected numbers from 0 on for real_mie"):
        shard_blocks(dataset, weights={"experts": 1.0})
    with pytest.raises(ValueError, match=r"not in 'samm_5class'; synthesize it with label_space"):
        shard_blocks(dataset, LABEL_SPACES["samm_5class"])


def test_follow_finds_a_known_shift() -> None:
    rng = np.random.default_rng(0)
    import cv2

    texture = cv2.GaussianBlur(rng.uniform(0, 255, (128, 128, 3)).astype(np.float32), (0, 0), 2)
    texture = (texture - texture.min()) / np.ptp(texture) * 255
    shift = np.float32([[1, 0, 0.6], [0, 1, -0.4]])
    moved = cv2.warpAffine(texture, shift, (128, 128), flags=cv2.INTER_CUBIC)
    frames = np.stack([texture, moved]).round().astype(np.uint8)
    onset = rng.uniform(40, 90, (68, 2)).astype(np.float32)
    points = follow(frames, onset)
    np.testing.assert_array_equal(points[0], onset)
    np.testing.assert_allclose((points[1] - onset).mean(0), (0.6, -0.4), atol=0.1)


def test_a_damaged_shard_is_named_and_leaves_nothing_behind(
    small_dataset: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_dataset, copy)
    shards = sorted((copy / "data").glob("*.parquet"))
    blocks = shard_blocks(DatasetFolder.open(copy))
    content = bytearray(shards[1].read_bytes())
    content[len(content) // 2] ^= 1
    shards[1].write_bytes(content)
    cache = tmp_path / "cache"
    pair = FramePair(FramesConfig(side=32))
    with pytest.raises(ValueError, match=rf"{shards[1].name} is damaged \(its sha256"):
        open_inputs(blocks, pair, cache)
    assert len(list(cache.rglob("*.safetensors"))) == 1
    with pytest.raises(ValueError, match=rf"{shards[1].name} is damaged: its SHA-256.*synthesize"):
        shard_blocks(DatasetFolder.open(copy))


def test_people_of_one_study_are_the_same_in_both_of_its_databases(small_dataset: Path) -> None:
    """MMEW: early macro-expressions of whom the micro-expressions are tested on."""
    row = next(DatasetFolder.open(small_dataset).rows())
    row |= {"source_dataset": "mmew_macro", "source_subject": "S01"}
    info = _info("dataset", row, None, ())
    assert ("mmew", "S01") in info.lineage
    assert admit([info], {("mmew", "S01")}) == ([], [0])


def test_a_table_that_was_counted_on_clips_is_kept_from_whoever_tests_on_them(
    small_dataset: Path,
) -> None:
    """Pitfall 5: its odds were learnt of the people that are tested on."""
    dataset = DatasetFolder.open(small_dataset)
    infos = [info for block in shard_blocks(dataset) for info in block.infos]
    tables = [row["au_estimator"].split()[1] for row in dataset.rows(["au_estimator"])]
    assert set(tables) == {"miex", "micro", "casme3"}
    kept, refused = admit(infos, {("casme3", "spNO.1")})
    assert {tables[index] for index in kept} == {"miex", "micro"}
    assert {tables[index] for index in refused} == {"casme3"}
    assert admit(infos, {("casme2", "sub01")}) == (list(range(len(infos))), [])
    with pytest.raises(ValueError, match=r"leak: .* casme3:\* of its lineage"):
        require_disjoint(infos, {("casme3", "spNO.1")})
