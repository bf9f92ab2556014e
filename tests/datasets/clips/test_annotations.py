from dataclasses import replace
from pathlib import Path

import pytest

from miex.datasets.clips.annotations import Annotation, ClipBuilder, Located
from miex.datasets.clips.base import ApexRule, middle_frame
from miex.datasets.clips.corrections import Correction, own_corrections, read_corrections
from miex.datasets.clips.frames import FrameFolder
from miex.datasets.labels import Emotion


def annotation(onset=100, apex=110, offset=130, **more):
    values = {"emotion": Emotion.FEAR, "emotion_text": "fear", "where": "s.xlsx, row 2", **more}
    return Annotation("s1", "c1", onset=onset, apex=apex, offset=offset, **values)


def folder(numbers):
    return FrameFolder(Path("frames"), {number: f"{number}.jpg" for number in numbers})


def build(given, numbers=None, corrections=()):
    locate = None if numbers is None else lambda _: Located(folder(numbers))
    table = {("s1", "c1"): list(corrections)} if corrections else {}
    builder = ClipBuilder("db", 200.0, locate, table)
    builder.add(given)
    return builder


def numbers_of(builder):
    (clip,) = builder.clips
    return clip.onset, clip.apex, clip.offset, clip.apex_rule


@pytest.mark.parametrize("length", range(1, 12))
def test_the_middle_frame_is_the_stated_formula(length):
    assert middle_frame(7, 7 + length) == 7 + length // 2
    builder = build(annotation(7, None, 7 + length))
    assert numbers_of(builder) == (7, 7 + length // 2, 7 + length, ApexRule.MIDDLE_FRAME)
    assert builder.repairs == []


@pytest.mark.parametrize(
    ("stated", "settled"),
    [
        ((100, 110, 130), (100, 110, 130, ApexRule.ANNOTATED)),
        ((100, 100, 130), (100, 100, 130, ApexRule.ANNOTATED)),
        ((112, 83, 358), (112, 235, 358, ApexRule.REPAIRED)),
        ((100, 140, 130), (100, 115, 130, ApexRule.REPAIRED)),
        ((3647, 2668, 2694), (2642, 2668, 2694, ApexRule.ANNOTATED)),
        ((1812, 1824, 0), (1812, 1824, 1836, ApexRule.ANNOTATED)),
        ((20, 3, 10), (0, 3, 10, ApexRule.ANNOTATED)),
    ],
)
def test_one_number_out_of_order_is_repaired(stated, settled):
    builder = build(annotation(*stated))
    assert numbers_of(builder) == settled
    changed = [n for n, old, new in zip("oaf", stated, settled, strict=False) if old != new]
    assert len(builder.repairs) == len(changed) <= 1
    for repair in builder.repairs:
        assert repair.origin == "db:s1/c1"
        assert repair.annotation == "s.xlsx, row 2"
        assert repair.old == getattr(annotation(*stated), repair.field)
        assert repair.new == getattr(builder.clips[0], repair.field)
        assert repair.reason in builder.clips[0].notes


@pytest.mark.parametrize("stated", [(100, 50, 20), (100, None, 20)])
def test_more_than_one_number_out_of_order_is_left_out(stated):
    builder = build(annotation(*stated))
    assert builder.clips == []
    (rejection,) = builder.rejections
    assert rejection.reason == "not_in_order"
    assert "s.xlsx, row 2" in rejection.detail


@pytest.mark.parametrize(
    ("there", "settled"),
    [
        (range(90, 140), (100, 110, 130)),
        (range(102, 131), (102, 110, 130)),
        ([*range(100, 110), *range(112, 131)], (100, 109, 130)),
        (range(100, 120), (100, 110, 119)),
        # The apex lies beyond the frames that are there.
        (range(100, 105), (100, 102, 104)),
        # Just beyond them the last one is near enough.
        (range(100, 109), (100, 108, 108)),
    ],
)
def test_numbers_are_put_onto_frames_that_are_there(there, settled):
    builder = build(annotation(), there)
    assert numbers_of(builder)[:3] == settled
    assert [r.field for r in builder.repairs] == [
        name
        for name, old, new in zip(
            ("onset", "apex", "offset"), (100, 110, 130), settled, strict=True
        )
        if old != new
    ]


def test_the_middle_frame_is_that_of_the_frames_that_are_there():
    builder = build(annotation(100, None, 130), range(100, 121))
    assert numbers_of(builder)[:3] == (100, 110, 120)


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        ([], "no_frames"),
        (range(1, 50), "no_frames"),
        (range(104, 131), "onset_missing"),
        ([*range(100, 105), *range(116, 131)], "apex_missing"),
    ],
)
def test_clips_without_their_frames_are_left_out(there, reason):
    builder = build(annotation(), there)
    assert builder.clips == []
    assert [(r.origin, r.reason) for r in builder.rejections] == [("db:s1/c1", reason)]
    assert builder.rejections[0].detail.startswith("s.xlsx, row 2: ")


def test_a_folder_cut_to_the_clip_is_counted_from_the_onset():
    builder = build(annotation(), range(1, 32))
    (clip,) = builder.clips
    assert clip.numbers() == list(range(100, 131))
    assert clip.frames.path(100).name == "1.jpg"
    assert clip.notes == ("the files of the folder are counted from the onset",)
    assert build(annotation(), range(1, 31)).clips == []


def test_a_clip_that_stands_twice_is_left_out_once():
    builder = build(annotation())
    builder.add(annotation(where="s.xlsx, row 9"))
    assert len(builder.clips) == 1
    (rejection,) = builder.rejections
    assert rejection.reason == "listed_twice"
    assert rejection.detail == "s.xlsx, row 9: the clip stands in s.xlsx, row 2 already"


def test_frames_are_not_needed():
    (clip,) = build(annotation()).clips
    assert clip.frames is None
    assert clip.key == ("db", "s1", "c1")
    for look in (clip.numbers, clip.images):
        with pytest.raises(ValueError, match="opened without frames"):
            look()


def test_the_track_between_onset_and_apex():
    (clip,) = build(annotation(), [*range(95, 105), *range(107, 140)]).clips
    assert clip.numbers(clip.apex) == [*range(100, 105), *range(107, 111)]


def correction(field="apex", old=110, new=120, **more):
    entry = {"subject": "s1", "clip": "c1", "field": field, "old": old, "new": new}
    return Correction(**{**entry, "source": "a paper", **more})


def test_corrections_replace_the_old_value():
    builder = build(annotation(), corrections=[correction(), correction("aus", None, "4+7")])
    (clip,) = builder.clips
    assert (clip.apex, clip.aus, clip.apex_rule) == (120, "4+7", ApexRule.CORRECTED)
    assert [(r.field, r.old, r.new) for r in builder.repairs] == [
        ("apex", 110, 120),
        ("aus", None, "4+7"),
    ]
    assert all("a paper" in repair.reason for repair in builder.repairs)


def test_corrections_refuse_another_old_value():
    with pytest.raises(ValueError, match=r"row 2: apex of s1 c1 is 110, but a correction"):
        build(annotation(), corrections=[correction(old=111)])
    with pytest.raises(ValueError, match="is 110"):
        build(annotation(), corrections=[correction(old="110")])


def test_own_corrections_state_what_they_replace():
    table = own_corrections("casme3")
    assert sum(map(len, table.values())) == 7
    assert all(
        entry.old != entry.new and entry.source for list_ in table.values() for entry in list_
    )
    assert own_corrections("samm") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {subject: a}", "entry 0.clip: Field required"),
        ("subject: a", "valid list"),
        ("- [", "is no YAML"),
        ("- {subject: a, clip: b, field: emotion, old: 1, new: 2, source: s}", "entry 0.field"),
        ("- {subject: a, clip: b, field: apex, old: 1, new: two, source: s}", "not a frame number"),
        ("- {subject: a, clip: b, field: aus, old: x, new: 2, source: s}", "not text"),
        ("- {subject: 1, clip: b, field: apex, old: 1, new: 2, source: s}", "valid string"),
    ],
)
def test_bad_files_of_corrections(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_corrections(path)


def test_records_are_frozen():
    with pytest.raises(AttributeError):
        annotation().onset = 3
    assert replace(annotation(), onset=3).onset == 3
