import shutil
from pathlib import Path

import pytest

from miex.au_sources.action_units import parse_facs
from miex.datasets.clips.base import ApexRule, open_clips
from miex.datasets.labels import Emotion

HEADER = "subject,clip,emotion,onset,apex,offset,aus,fps,frames"


@pytest.fixture
def copy(fictitious, tmp_path) -> Path:
    """A copy that may be spoiled."""
    folder = tmp_path / "ours"
    shutil.copytree(fictitious("clip_table").folder, folder)
    return folder


def rewrite(folder: Path, *rows: str, header: str = HEADER) -> str:
    (folder / "clip_table.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    return f"clip_table:{folder}"


def test_what_a_table_says(fictitious):
    reader = open_clips(fictitious("clip_table").spec)
    first, second, _, last = reader.clips()[:4]
    assert first.key == ("clip_table", "p1", "c1")
    assert (first.onset, first.apex, first.offset) == (93, 98, 102)
    assert (first.emotion, first.aus, first.fps) == (Emotion.HAPPINESS, "6+12", 200)
    assert [code.number for code in parse_facs(first.aus).codes] == [6, 12]
    assert first.frames.folder.parts[-2:] == ("elsewhere", "first")
    assert second.frames.folder.parts[-3:] == ("frames", "p1", "c2")
    assert first.annotation == "clip_table.csv, row 2"
    assert (last.aus, last.apex_rule) == (None, ApexRule.MIDDLE_FRAME)
    assert last.apex == last.onset + (last.offset - last.onset) // 2
    assert reader.report().repairs == reader.report().rejections == ()


def test_the_table_itself_may_be_given(copy):
    table = (copy / "clip_table.csv").rename(copy / "mine.csv")
    assert len(open_clips(f"clip_table:{table}").clips()) == 8
    with pytest.raises(
        FileNotFoundError, match=r"clip_table: no table of clips in .*clip_table.csv"
    ):
        open_clips(f"clip_table:{copy}")


def test_only_five_columns_are_needed(copy):
    spec = rewrite(copy, "p1,c2,surprise,95,104", header="subject,clip,emotion,onset,offset")
    (clip,) = open_clips(spec).clips()
    assert (clip.apex, clip.fps, clip.aus) == (99, None, None)
    assert clip.frames.folder == copy / "frames" / "p1" / "c2"


def test_clips_may_share_a_folder(copy):
    place = "frames/p1/c2"
    spec = rewrite(copy, f"p1,a,happy,95,97,98,12,,{place}", f"p1,b,sad,99,101,104,R15,30,{place}")
    clips = open_clips(spec).clips()
    assert [clip.numbers() for clip in clips] == [[95, 96, 97, 98], list(range(99, 105))]
    assert [clip.fps for clip in clips] == [None, 30]


def test_a_name_of_its_own_tells_subjects_apart(copy):
    clips = open_clips(f"clip_table:{copy}?name=our_lab").clips()
    assert {clip.database for clip in clips} == {"our_lab"}
    assert clips[0].origin == "our_lab:p1/c1"


@pytest.mark.parametrize("name", ["casme2", "samples"])
def test_the_name_of_another_database_is_refused(copy, name):
    with pytest.raises(ValueError, match=f"{name!r} is the name of another database"):
        open_clips(f"clip_table:{copy}?name={name}")


@pytest.mark.parametrize("name", ["", "Ours", "a b", "a:b", "../x"])
def test_a_name_must_be_plain(copy, name):
    with pytest.raises(ValueError, match="expected a small letter"):
        open_clips(f"clip_table:{copy}?name={name}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p1,c2,glee,95,100,104,,,", r"row 2, column C \(emotion\): unknown emotion 'glee'"),
        (",c2,sad,95,100,104,,,", r"row 2, column A \(subject\): the cell is empty"),
        ("p1,c2,sad,first,100,104,,,", r"column D \(onset\): 'first' is no frame number"),
        ("p1,c2,sad,104,100,95,,,", r"column F \(offset\): frame 95 lies before onset 104"),
        ("p1,c2,sad,95,90,104,,,", r"column E \(apex\): frame 90 of a clip from 95 to 104"),
        ("p1,c2,sad,1,100,104,,,", r"column D \(onset\): no image of frame 1 .* has 10 from 95"),
        ("p1,c2,sad,95,100,200,,,", r"column F \(offset\): no image of frame 200"),
        ("p1,c2,sad,95,100,104,,fast,", r"column H \(fps\): 'fast', expected frames per second"),
        ("p1,c9,sad,95,100,104,,,", r"column I \(frames\): no folder .*c9; it is relative"),
        ("p1,c2,sad,95,100,104,,,../../etc", r"column I \(frames\): the path .* leaves"),
        ("p1,c2,sad,95,100,104,,,frames", r"column I \(frames\): no numbered image"),
    ],
)
def test_a_mistake_in_the_table_names_its_cell(copy, row, message):
    with pytest.raises(ValueError, match=f"clip_table.csv, .*{message}"):
        open_clips(rewrite(copy, row)).clips()


def test_an_image_in_between_may_be_missing(copy):
    spec = rewrite(copy, "p1,c2,sad,95,100,104,4,,")
    (copy / "frames" / "p1" / "c2" / "0097.png").unlink()
    reader = open_clips(spec)
    assert reader.report().frames_missing == 1
    assert 97 not in reader.clips()[0].numbers()


def test_a_clip_listed_twice_is_counted(copy):
    row = "p1,c2,sad,95,100,104,4,,"
    reader = open_clips(rewrite(copy, row, row))
    assert len(reader.clips()) == 1
    assert [one.reason for one in reader.report().rejections] == ["listed_twice"]


def test_annotations_alone_need_no_images(copy):
    shutil.rmtree(copy / "frames")
    clips = open_clips(f"clip_table:{copy}", frames=False).clips()
    assert len(clips) == 8
    assert clips[0].frames is None
    rejections = open_clips(f"clip_table:{copy}").report().rejections
    assert [each.reason for each in rejections] == ["unusable_frames"] * 7
    assert "row 3, column I (frames): no folder" in rejections[0].detail


def test_other_options_are_refused(copy):
    with pytest.raises(ValueError, match="clip_table: unknown option 'images'; there are: name"):
        open_clips(f"clip_table:{copy}?images=x")
