import hashlib

import numpy as np
import pytest

from miex.datasets.clips.base import clip_database_names, open_clips
from miex.pipeline.fictitious_databases.write import NOTE_FILE, fictitious_names, write_fictitious


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, sample_table):
    folder = tmp_path_factory.mktemp("fictitious") / "casme2"
    return write_fictitious("casme2", folder, 2, 3, seed=0, faces=sample_table)


def contents(folder):
    """Return the hashes of all files except workbooks, which store the time of writing."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".xlsx"
    }


def test_every_fictitious_database_has_a_reader():
    assert {"casme2", "samm", "ckplus", "video_folder"} <= set(fictitious_names())
    assert set(fictitious_names()) <= set(clip_database_names())


def test_it_says_that_it_is_fictitious(drawn):
    text = (drawn.folder / NOTE_FILE).read_text()
    assert text.startswith("# Fictitious casme2")
    assert "synthetic" in text
    assert drawn.quirks
    assert all(f"- {quirk}" in text for quirk in drawn.quirks)


def test_the_expression_grows_and_falls(drawn):
    clip = open_clips(drawn.spec).clips()[1]
    frames = np.stack(list(clip.images())).astype(float)
    distance = np.abs(frames - frames[0]).mean(axis=(1, 2, 3))
    apex = clip.numbers().index(clip.onset + 5)
    assert distance.argmax() == apex
    assert (np.diff(distance[: apex + 1]) > 0).all()
    assert (np.diff(distance[apex:]) < 0).all()


def test_the_frames_show_the_face_of_the_subject(drawn):
    first, second = (
        next(c for c in open_clips(drawn.spec).clips() if c.subject == s)
        for s in ("sub01", "sub02")
    )
    a, b = (next(iter(clip.images([clip.onset]))) for clip in (first, second))
    assert a.shape == b.shape == (128, 128, 3)
    assert np.abs(a.astype(int) - b).mean() > 10


def test_the_same_seed_draws_the_same(drawn, tmp_path, sample_table):
    again = write_fictitious("casme2", tmp_path / "a", 2, 3, seed=0, faces=sample_table)
    other = write_fictitious("casme2", tmp_path / "b", 2, 3, seed=1, faces=sample_table)
    assert contents(again.folder) == contents(drawn.folder)
    assert contents(other.folder) != contents(drawn.folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("casme9",), "no fictitious database is called 'casme9'; there are: casme2, "),
        (("samm", 1, 3), "subjects: 1 and clips: 3 are too few"),
        (("samm", 2, 2), "give at least 2 subjects and 3 clips"),
    ],
)
def test_what_cannot_be_drawn(tmp_path, arguments, message):
    name, *rest = arguments
    with pytest.raises(ValueError, match=message):
        write_fictitious(name, tmp_path / "new", *rest)
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        write_fictitious("samm", tmp_path)
    with pytest.raises(ValueError, match="is not empty"):
        write_fictitious("samm", tmp_path / "mine.txt")
