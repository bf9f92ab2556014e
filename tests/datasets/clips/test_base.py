from collections import Counter

import pytest

from miex.datasets.clips.base import Clip, clip_database_names, open_clips
from miex.datasets.clips.report import markdown, summary
from miex.datasets.labels import Emotion

MICRO = ["casme2", "casme3", "clip_table", "fourdme", "megc2019", "mmew", "samm", "smic"]
MACRO = ["ckplus", "mmew_macro", "oulu_casia", "video_folder"]


def test_names():
    micro, macro = clip_database_names("micro"), clip_database_names("macro")
    assert set(MICRO) <= set(micro)
    assert {*MACRO, "samples"} <= set(macro)
    assert clip_database_names() == sorted([*micro, *macro])


def test_a_database_without_a_path_says_what_to_write():
    with pytest.raises(ValueError, match="casme2 needs a path: write casme2:PATH"):
        open_clips("casme2")


def test_the_sample_video_needs_no_path():
    reader = open_clips("samples")
    (clip,) = reader.clips()
    assert (clip.clip, clip.emotion, clip.apex) == ("smile", Emotion.HAPPINESS, None)
    (frame,) = clip.images([1])
    assert frame.shape == (360, 640, 3)
    assert reader.report().rejections == ()
    with pytest.raises(ValueError, match="samples takes no path"):
        open_clips("samples:somewhere")


@pytest.mark.parametrize("text", ["nothing:/data", "/data/casme2", ""])
def test_what_is_no_database(text):
    with pytest.raises(ValueError, match="write NAME:PATH, where NAME is one of casme2, "):
        open_clips(text)


@pytest.mark.parametrize("name", MICRO + MACRO)
def test_paths_and_options_are_checked_at_once(name, tmp_path):
    options = "?samm=x" if name == "megc2019" else ""
    with pytest.raises((ValueError, FileNotFoundError), match=r"path|nothing at"):
        open_clips(f"{name}:{options}")
    with pytest.raises(FileNotFoundError):
        open_clips(f"{name}:{tmp_path / 'absent'}{options}")
    with pytest.raises(ValueError, match="unknown option 'colour'"):
        open_clips(f"{name}:{tmp_path}?colour=red")


@pytest.mark.parametrize("name", sorted({*MICRO, *MACRO} - {"megc2019"}))
def test_an_empty_folder_tells_what_was_looked_for(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{name}: no .* looked for"):
        open_clips(f"{name}:{tmp_path}")


@pytest.mark.parametrize("name", MICRO + MACRO)
def test_every_reader_keeps_the_promises(name, fictitious):
    drawn = fictitious(name)
    reader = open_clips(drawn.spec)
    clips, report = reader.clips(), reader.report()
    assert reader.name == name
    assert reader.licence
    assert clips
    assert report.listed == drawn.listed == len(clips) + len(report.rejections)
    assert len({clip.key for clip in clips}) == len(clips)
    assert {r.origin for r in report.rejections}.isdisjoint(clip.origin for clip in clips)
    assert clips == open_clips(drawn.spec).clips()
    for clip in clips:
        assert isinstance(clip, Clip)
        there = set(clip.frames.numbers)
        assert {clip.onset, clip.offset} <= there
        assert clip.apex is None or clip.onset <= clip.apex <= clip.offset
        assert clip.apex is None or clip.apex in there
        (onset,) = clip.images([clip.onset])
        assert onset.shape == (64, 64, 3)
        assert clip.annotation
    frames = sum(len(clip.numbers()) for clip in clips)
    spans = sum(clip.offset - clip.onset + 1 for clip in clips)
    assert (report.frames, report.frames_missing) == (frames, spans - frames)
    assert sum(report.emotions.values()) == sum(report.subjects.values()) == len(clips)
    assert report.apex_rules == Counter(str(clip.apex_rule) for clip in clips)


@pytest.mark.parametrize(
    "name", ["casme2", "casme3", "clip_table", "samm", "mmew", "fourdme", "ckplus"]
)
def test_annotations_need_no_frames(name, fictitious):
    drawn = fictitious(name)
    with_frames = {clip.key: clip for clip in open_clips(drawn.spec).clips()}
    clips = open_clips(drawn.spec, frames=False).clips()
    assert len(clips) >= len(with_frames)
    assert all(clip.frames is None for clip in clips)
    for clip in clips:
        if clip.key in with_frames:
            other = with_frames[clip.key]
            assert (clip.onset, clip.emotion, clip.aus) == (other.onset, other.emotion, other.aus)


def test_a_report_for_people(fictitious):
    report = open_clips(fictitious("casme2").spec).report()
    assert summary(report) == (
        "casme2: 7 of 8 clips, 2 subjects, 69 frames; 1 value repaired; 1 left out (1 no_frames)"
    )
    text = markdown(report)
    assert "| clips listed | 8 (published: 255) |" in text
    assert "| casme2:sub01/EP02_03f | offset | 17 | 106 | offset before the onset" in text
    assert "| casme2:sub02/EP02_04f | no_frames | CASME2-coding-20190701.xlsx" in text
    assert "no frames opened" in summary(
        open_clips(fictitious("casme2").spec, frames=False).report()
    )
