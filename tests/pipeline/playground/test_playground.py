"""Expressions that are set by hand, and the dataset in which they are saved."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miex.au_sources.expert_table import load_table
from miex.datasets.dataset_format import DatasetFolder, decode_frames
from miex.datasets.faces.base import open_face_source
from miex.datasets.shards import MiexDataset
from miex.pipeline.playground.samples import save_sample
from miex.pipeline.playground.studio import Studio
from miex.pipeline.synthesis.run import redraw
from miex.pipeline.synthesis.verify import verify


@pytest.fixture(scope="module")
def studio(sample_table: Path) -> Studio:
    return Studio(str(sample_table))


def smile(strength: float = 1.5) -> np.ndarray:
    aus = np.zeros(17, np.float32)
    aus[8] = strength
    return aus


def test_a_smile_moves_the_mouth_and_is_read_back(studio: Studio) -> None:
    face = studio.faces()[0]
    for generator in ("ganimation", "warp"):
        shot = studio.render(face, generator, smile())
        assert np.array_equal(shot.onset, studio.face(face).crop)
        assert shot.motion > 0.5
        assert shot.read[8] > 0.2
        assert np.isnan(shot.read[3])
        change = np.abs(shot.apex.astype(int) - shot.onset).max(axis=2)
        assert change[64:].mean() > 2 * change[:64].mean()
        assert shot.motion_image(256).shape == (256, 256, 3)
        assert shot.difference(8).std() > shot.difference(1).std() > 0


def test_the_generators_are_those_with_weights_and_the_default_first(studio: Studio) -> None:
    default, *others = studio.generators()
    assert default == "ganimation"
    assert "warp" in others
    assert others == sorted(others)


def test_an_emotion_is_drawn_from_its_table(studio: Studio) -> None:
    tables = studio.tables()
    assert {"miex", "casme3", "du2014", "micro"} <= set(tables)
    aus = studio.draw("miex", "happiness", 3)
    assert aus.shape == (17,)
    assert 0 < aus.max() <= 5
    assert np.array_equal(aus, studio.draw("miex", "happiness", 3))
    with pytest.raises(ValueError, match="unknown emotion 'pain'; expected one of happiness"):
        studio.draw("miex", "pain", 0)
    with pytest.raises(ValueError, match="no AUs for repression; it has: "):
        studio.draw("du2014", "repression", 0)


def test_a_photograph_of_ones_own(studio: Studio) -> None:
    path = open_face_source("samples").photographs()[0].path
    name = studio.add_photograph(np.asarray(Image.open(path).convert("RGB")))
    assert name in studio.faces()
    assert studio.render(name, "warp", smile()).motion > 0.3
    with pytest.raises(ValueError, match="no face"):
        studio.add_photograph(np.full((300, 300, 3), 127, np.uint8))


@pytest.mark.parametrize("aus", [[0.0] * 16, [6.0] + [0.0] * 16, [float("nan")] * 17])
def test_intensities_that_do_not_fit(studio: Studio, aus: list[float]) -> None:
    with pytest.raises(ValueError, match="17 intensities from 0 to 5"):
        studio.render(studio.faces()[0], "warp", aus)


def test_saved_samples_are_a_dataset(studio: Studio, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shot = studio.render(studio.faces()[0], "warp", smile())
    assert save_sample(studio, shot, folder, "happiness", "miex") == "by-hand-00000000"
    other = studio.render(studio.faces()[1], "ganimation", smile(2.5))
    assert save_sample(studio, other, folder, "disgust", "casme3") == "by-hand-00000001"
    assert verify(folder) == []
    dataset = DatasetFolder.open(folder)
    first, second = dataset.rows()
    assert (first["label"], first["emotion"], first["fine_emotion"]) == (1, "positive", "happiness")
    assert (second["label"], second["fine_emotion"]) == (0, "disgust")
    assert np.array_equal(decode_frames(first), np.stack([shot.onset, shot.apex]))
    assert first["aus"][1][8] == pytest.approx(1.5)
    assert first["motion_iod"] > 0.01
    counts = dataset.manifest["counts"]
    assert counts["by_source"] == {"by-hand:miex": 1, "by-hand:casme3": 1}
    assert counts["by_class"] == {"negative": 1, "positive": 1, "surprise": 0}
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "set by hand on the page of `miex app`" in card
    assert "miex synthesize --config" not in card
    assert (folder / "report" / "index.html").is_file()
    assert MiexDataset(folder)[1]["frames"].shape == (2, 3, 128, 128)


def test_a_table_counted_on_clips_keeps_its_subjects_out_of_training(
    studio: Studio, tmp_path: Path
) -> None:
    shot = studio.render(studio.faces()[0], "warp", smile())
    save_sample(studio, shot, tmp_path / "mine", "happiness", "casme3")
    (source,) = DatasetFolder.open(tmp_path / "mine").manifest["inputs"]["sources"]
    assert source["measured_on"] == list(load_table("casme3").measured_on) != []
    (row,) = DatasetFolder.open(tmp_path / "mine").rows(["au_estimator"])
    assert row["au_estimator"] == source["description"]


def test_samples_set_by_hand_cannot_be_drawn_again(studio: Studio, tmp_path: Path) -> None:
    shot = studio.render(studio.faces()[0], "warp", smile())
    save_sample(studio, shot, tmp_path / "mine", "happiness", "miex")
    with pytest.raises(ValueError, match="set by hand"):
        redraw(tmp_path / "mine", "by-hand-00000000")


def test_what_cannot_be_saved(studio: Studio, tmp_path: Path) -> None:
    shot = studio.render(studio.faces()[0], "warp", smile())
    still = studio.render(studio.faces()[0], "warp", [0.0] * 17)
    with pytest.raises(ValueError, match="nothing moves"):
        save_sample(studio, still, tmp_path / "mine", "happiness", "miex")
    assert not (tmp_path / "mine").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("not a dataset")
    with pytest.raises(ValueError, match="holds something else than samples of miex app"):
        save_sample(studio, shot, tmp_path / "other", "happiness", "miex")
    save_sample(studio, shot, tmp_path / "mine", "happiness", "miex")
    (shard,) = (tmp_path / "mine" / "data").iterdir()
    shard.write_bytes(b"something else")
    with pytest.raises(ValueError, match="cannot be read"):
        save_sample(studio, shot, tmp_path / "mine", "happiness", "miex")
