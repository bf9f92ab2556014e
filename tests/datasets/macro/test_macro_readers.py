import os
import shutil

import pytest

from miex.au_sources.action_units import parse_facs
from miex.datasets.clips.base import ApexRule, open_clips
from miex.datasets.labels import LABEL_SPACES, Emotion


def test_ckplus(fictitious):
    reader = open_clips(fictitious("ckplus").spec)
    clips = reader.clips()
    assert {clip.apex_rule for clip in clips} == {ApexRule.LAST_FRAME}
    assert all(clip.apex == clip.offset == 8 and clip.onset == 1 for clip in clips)
    assert [r.reason for r in reader.report().rejections] == ["no_emotion"] * 2
    sad = next(clip for clip in clips if clip.emotion is Emotion.SADNESS)
    assert sad.aus == "1C+4B+15"
    coding = parse_facs(sad.aus)
    assert [(code.number, code.intensity) for code in coding.codes] == [(1, 3), (4, 2), (15, None)]


def test_sadness_is_negative(fictitious):
    space = LABEL_SPACES["three_class"]
    labels = {
        c.emotion: space.label(c.emotion) for c in open_clips(fictitious("ckplus").spec).clips()
    }
    assert labels[Emotion.SADNESS] == 0
    assert labels[Emotion.HAPPINESS] == 1


def test_ckplus_bad_files(fictitious, tmp_path):
    folder = tmp_path / "ck"
    shutil.copytree(fictitious("ckplus").folder, folder)
    (label,) = (folder / "Emotion" / "S005" / "001").glob("*_emotion.txt")
    for text, message in [
        ("sad", "_emotion.txt: text, expected numbers"),
        ("1 2", "expected one number, the emotion"),
        ("2.5", "expected whole numbers"),
        ("inf", "expected whole numbers"),
        ("nan", "expected whole numbers"),
        ("", "is empty"),
    ]:
        label.write_text(text)
        reader = open_clips(f"ckplus:{folder}")
        rejection = reader.report().rejections[0]
        assert rejection.reason == "unreadable_annotation"
        assert label.name in rejection.detail
        assert message in rejection.detail
        assert reader.clips()
    label.unlink()
    os.mkfifo(label)
    assert "a FIFO" in open_clips(f"ckplus:{folder}").report().rejections[0].detail
    label.unlink()
    label.write_text(" 6,0000000e+00", "utf-16")
    assert open_clips(f"ckplus:{folder}").clips()[0].emotion is Emotion.SADNESS
    label.write_text("  0.0000000e+00")
    assert open_clips(f"ckplus:{folder}").report().rejections[0].reason == "neutral"
    shutil.rmtree(folder / "FACS")
    assert all(clip.aus is None for clip in open_clips(f"ckplus:{folder}").clips())


def test_oulu_casia(fictitious):
    spec = fictitious("oulu_casia").spec
    clips = open_clips(spec).clips()
    assert clips[0].key == ("oulu_casia", "P001", "VL_Strong_Anger")
    assert clips[0].onset == 0
    (infrared,) = open_clips(f"{spec}?spectrum=NI&light=Weak").clips()
    assert infrared.key == ("oulu_casia", "P001", "NI_Weak_Happiness")
    with pytest.raises(FileNotFoundError, match="NI_Acropped/Dark"):
        open_clips(f"{spec}?spectrum=NI&light=Dark")
    with pytest.raises(ValueError, match="'Bright' is unknown, expected Strong or Weak or Dark"):
        open_clips(f"{spec}?light=Bright")


def test_ravdess(fictitious):
    drawn = fictitious("ravdess")
    reader = open_clips(drawn.spec)
    clips = reader.clips()
    assert len(clips) == 8
    assert clips[0].subject == "Actor_01"
    assert clips[0].apex is None
    assert clips[0].fps == 25
    emotions = {clip.clip.split("-")[1]: clip.emotion.value for clip in clips}
    assert (
        emotions.items()
        <= {
            "03": "happiness",
            "04": "sadness",
            "05": "anger",
            "06": "fear",
            "07": "disgust",
            "08": "surprise",
        }.items()
    )
    reasons = [rejection.reason for rejection in reader.report().rejections]
    assert sorted(reasons) == ["duplicate", "duplicate", "no_expression", "no_expression"]
    strong = open_clips(f"{drawn.spec}?intensity=strong").clips()
    assert {clip.clip.split("-")[2] for clip in strong} == {"02"}
    with pytest.raises(ValueError, match="expected normal or strong"):
        open_clips(f"{drawn.spec}?intensity=weak")
    (drawn.folder / "Actor_99.mp4").write_bytes(b"no video")
    (drawn.folder / "01-01-03-01-01-01-99.mp4").write_bytes(b"no video")
    reasons = [rejection.reason for rejection in open_clips(drawn.spec).report().rejections]
    assert {"not_a_recording", "unreadable_video"} <= set(reasons)
    for name in ("Actor_99.mp4", "01-01-03-01-01-01-99.mp4"):
        (drawn.folder / name).unlink()


def test_mmew_macro(fictitious):
    reader = open_clips(fictitious("mmew_macro").spec)
    clips = {clip.clip: clip for clip in reader.clips()}
    assert clips["S01-01"].frames.path(1).name == "1.jpg"
    assert clips["S01-02"].frames.path(8).name == "S01-02-008.jpg"
    assert all(clip.apex is None and clip.apex_rule is ApexRule.NONE for clip in clips.values())
    assert [r.reason for r in reader.report().rejections] == ["single_frame"] * 2


def test_video_folder(fictitious):
    clips = {clip.clip: clip for clip in open_clips(fictitious("video_folder").spec).clips()}
    first, second, frames = (clips[name] for name in ("c1", "c2", "frames/p1"))
    assert (first.apex, first.apex_rule, first.fps) == (None, ApexRule.NONE, 25)
    assert (second.onset, second.apex, second.offset) == (13, 20, 24)
    assert second.apex_rule is ApexRule.ANNOTATED
    assert (frames.onset, frames.offset, frames.fps, frames.aus) == (1, 8, 30, "12")
    images = list(second.images(second.numbers(second.apex)))
    assert len(images) == 8


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "videos/absent.mp4,p1,happiness,,,,,,",
            r"clips.csv, row 2, column A \(path\): nothing at",
        ),
        ("../x.mp4,p1,happiness,,,,,,", "row 2, column A .* leaves"),
        ("../passwd,p1,happiness,,,,,,", "row 2, column A .* leaves"),
        ("clips.csv,p1,happiness,,,,,,", "row 2, column A .* is no video"),
        ("empty,p1,happiness,,,,,,", "row 2, column A .* no numbered image"),
        ("bad.mp4,p1,happiness,,,,,,", "row 2, column A .* no video that can be decoded"),
        ("frames/p1,p1,joyous,,,,,,", "row 2, column C .*unknown emotion"),
        ("frames/p1,p1,happiness,,one,,,,", "row 2, column E .*'one' is no frame number"),
        ("frames/p1,p1,happiness,,1,,99,,", "row 2, column G .*frame 99 of 1 to 8"),
        (
            "frames/p1,p1,happiness,,,,,,fast",
            "row 2, column I .*'fast', expected frames per second",
        ),
        ("frames/p1,,happiness,,,,,,", "row 2, column B .*the cell is empty"),
    ],
)
def test_a_bad_table_of_ones_own(fictitious, tmp_path, row, message):
    folder = tmp_path / "videos"
    shutil.copytree(fictitious("video_folder").folder, folder)
    (folder / "empty").mkdir()
    (folder / "bad.mp4").write_bytes(b"")
    header = "path,subject,emotion,clip,onset,apex,offset,aus,fps"
    (folder / "clips.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(ValueError, match=message):
        open_clips(f"video_folder:{folder}").clips()


def test_clips_of_one_video_are_named_by_their_onset(fictitious, tmp_path):
    folder = tmp_path / "videos"
    shutil.copytree(fictitious("video_folder").folder, folder)
    rows = ["path,subject,emotion,onset,offset", *["videos/p1.mp4,p1,fear,1,9"] * 2]
    (folder / "mine.csv").write_text("\n".join([*rows, "videos/p1.mp4,p1,fear,11,20"]))
    reader = open_clips(f"video_folder:{folder / 'mine.csv'}")
    assert [clip.clip for clip in reader.clips()] == ["videos/p1_1", "videos/p1_11"]
    assert [r.reason for r in reader.report().rejections] == ["listed_twice"]
