"""The real sheets of CAS(ME)3, row by row."""

from collections import Counter

import pytest
from openpyxl import load_workbook

from miex.au_sources.action_units import parse_facs
from miex.datasets.clips.base import ApexRule, open_clips
from miex.datasets.labels import Emotion, parse_emotion

SHEET = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"


@pytest.fixture(scope="module")
def folder(shared):
    if not (shared / "data" / "casme3" / SHEET).is_file():
        pytest.skip("the sheets of CAS(ME)3 are not among the shared data")
    return shared / "data" / "casme3"


@pytest.fixture(scope="module")
def rows(folder):
    """Every row as openpyxl reads it, with Excel's number."""
    sheet = load_workbook(folder / SHEET).worksheets[0]
    return {n: row for n, row in enumerate(sheet.iter_rows(values_only=True), start=1) if n > 1}


CORRECTED = {
    130: {"apex": 160},
    710: {"offset": 34},
    751: {"onset": 2647},
    752: {"onset": 1, "apex": 1},
    798: {"offset": 1845},
    800: {"offset": 2403},
}
"""By Excel's row; MEB counts the clips from 0, two less."""


def test_all_860_rows_are_accounted_for_one_by_one(folder, rows):
    reader = open_clips(f"casme3:{folder}", frames=False)
    clips = reader.clips()
    assert len(rows) == len(clips) == 860
    assert reader.report().rejections == ()
    assert len({clip.key for clip in clips}) == 860
    for (number, row), clip in zip(rows.items(), clips, strict=True):
        subject, video, onset, apex, offset, aus, _, emotion = row
        stated = {"onset": int(onset), "apex": int(apex), "offset": int(offset)}
        expected = stated | CORRECTED.get(number, {})
        assert clip.annotation == f"{SHEET}, sheet 'label', row {number}"
        assert (clip.subject, clip.clip) == (subject, f"{video.lower()}_{onset}")
        assert {name: getattr(clip, name) for name in expected} == expected
        assert (clip.aus, clip.emotion_text) == (aus, emotion)
        assert clip.emotion is parse_emotion(emotion)
        assert parse_facs(clip.aus).codes


def test_counts_of_part_a(folder):
    report = open_clips(f"casme3:{folder}", frames=False).report()
    assert report.emotions == {
        **{"disgust": 250, "surprise": 187, "others": 161, "fear": 86},
        **{"anger": 64, "sadness": 57, "happiness": 55},
    }
    assert len(report.subjects) == 94
    assert report.notes["the apex is the onset"] == 55
    assert len(report.repairs) == 7
    assert {(repair.old, repair.new) for repair in report.repairs} == {
        *[(83, 160), (3460, 34), (3647, 2647), (0, 1), (0, 1845), (0, 2403)]
    }


def test_without_corrections_the_rules_repair(folder, tmp_path):
    (tmp_path / "none.yaml").write_text("[]")
    spec = f"casme3:{folder}?corrections={tmp_path / 'none.yaml'}"
    reader = open_clips(spec, frames=False)
    assert len(reader.clips()) == 860
    assert {(r.origin, r.field, r.old, r.new) for r in reader.report().repairs} == {
        ("casme3:spNO.149/d_112", "apex", 83, 235),
        ("casme3:spNO.216/d_3647", "onset", 3647, 2642),
        ("casme3:spNO.40/e_1812", "offset", 0, 1836),
        ("casme3:spNO.40/e_2327", "offset", 0, 2399),
    }
    assert reader.report().apex_rules == {
        str(ApexRule.ANNOTATED): 859,
        str(ApexRule.REPAIRED): 1,
    }


def test_objective_classes(folder):
    clips = open_clips(f"casme3:{folder}", frames=False).clips()
    assert Counter(clip.objective_class for clip in clips) == {
        **{7: 373, 3: 234, 2: 151, 5: 47, 4: 37, 1: 15, 6: 3}
    }


def test_part_c(folder):
    reader = open_clips(f"casme3:{folder}?part=C", frames=False)
    clips = reader.clips()
    assert len(clips) == 165
    assert len(reader.report().subjects) == 30
    assert Counter(clip.emotion for clip in clips) == {
        **{Emotion.NEGATIVE: 99, Emotion.SURPRISE: 30, Emotion.OTHERS: 20, Emotion.POSITIVE: 16}
    }
    assert all(clip.apex == clip.onset + (clip.offset - clip.onset) // 2 for clip in clips)
    assert all(parse_facs(clip.aus).codes for clip in clips)
    assert "4\N{FULLWIDTH COMMA}11" in {clip.aus for clip in clips}
