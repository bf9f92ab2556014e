import re
import shutil

import openpyxl
import pytest

from miex.au_sources.action_units import parse_facs
from miex.datasets.clips.base import ApexRule, open_clips
from miex.datasets.labels import Emotion


def by_key(reader):
    return {(clip.subject, clip.clip): clip for clip in reader.clips()}


@pytest.fixture
def copy(fictitious, tmp_path):
    """A copy that may be spoiled."""

    def make(name):
        folder = tmp_path / name
        shutil.copytree(fictitious(name).folder, folder)
        return folder

    return make


def edit(path, cells):
    """Sets cells of the first sheet, by their names in Excel."""
    book = openpyxl.load_workbook(path)
    for cell, value in cells.items():
        book.worksheets[0][cell] = value
    book.save(path)


def test_casme2(fictitious):
    reader = open_clips(fictitious("casme2").spec)
    clips = by_key(reader)
    # One name for a clip of each subject.
    assert {subject for subject, clip in clips if clip == "EP02_01f"} == {"sub01", "sub02"}
    first, slash, typo = (clips["sub01", f"EP02_0{n}f"] for n in (1, 2, 3))
    assert first.numbers() == [93, 94, *range(96, 103)]
    assert [first.frames.path(n).name for n in (99, 100)] == ["img99.jpg", "img100.jpg"]
    assert reader.report().frames_missing == 1
    assert slash.apex_rule is ApexRule.MIDDLE_FRAME
    assert slash.apex == slash.onset + (slash.offset - slash.onset) // 2
    assert (typo.onset, typo.apex, typo.offset) == (97, 102, 106)
    assert clips["sub01", "EP02_01f"].fps == 200
    assert {clip.aus for clip in clips.values()} >= {"4", "L12", "1+2", "4+7", "R14"}
    assert all(parse_facs(clip.aus).codes for clip in clips.values())
    (left_out,) = reader.report().rejections
    assert (left_out.origin, left_out.reason) == ("casme2:sub02/EP02_04f", "no_frames")
    assert "CASME2-coding-20190701.xlsx, sheet 'Sheet1', row 9" in left_out.detail


def test_casme2_cropped_and_csv(fictitious, copy):
    folder = copy("casme2")
    rows = openpyxl.load_workbook(folder / "CASME2-coding-20190701.xlsx").worksheets[0].values
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    (folder / "CASME2-coding-20190701.xlsx").unlink()
    (folder / "CASME2-coding.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    cropped = folder / "Cropped" / "Cropped"
    cropped.parent.mkdir()
    (folder / "CASME2_RAW_selected" / "CASME2_RAW_selected").rename(cropped)
    (folder / "CASME2_RAW_selected").rmdir()
    for path in cropped.glob("*/*/img*.jpg"):
        path.rename(path.with_name(f"reg_{path.name}"))
    reader = open_clips(f"casme2:{folder}")
    original = open_clips(fictitious("casme2").spec)
    assert [(c.key, c.apex, c.aus) for c in reader.clips()] == [
        (c.key, c.apex, c.aus) for c in original.clips()
    ]
    assert reader.report().images == str(cropped)
    assert reader.clips()[0].frames.path(99).name == "reg_img99.jpg"


def test_files_elsewhere(fictitious, tmp_path):
    folder = fictitious("casme2").folder
    shutil.copy(folder / "CASME2-coding-20190701.xlsx", tmp_path / "mine.xlsx")
    images = folder / "CASME2_RAW_selected" / "CASME2_RAW_selected"
    clips = open_clips(f"casme2:{tmp_path}?sheet=mine.xlsx&images={images}").clips()
    assert len(clips) == 7
    assert len(open_clips(f"casme2:{tmp_path / 'mine.xlsx'}?images={images}").clips()) == 7
    with pytest.raises(FileNotFoundError, match="no annotation sheet of casme2 at"):
        open_clips(f"casme2:{tmp_path}?sheet=other.xlsx")


def test_samm(fictitious):
    reader = open_clips(fictitious("samm").spec)
    clips = by_key(reader)
    assert {subject for subject, _ in clips} == {"001", "002"}
    five, four = clips["001", "001_1_1"], clips["001", "001_2_1"]
    assert five.frames.path(five.onset).name == "001_0988.jpg"
    assert four.frames.path(four.onset).name == "001_00990.jpg"
    assert (four.apex, four.apex_rule) == (994, ApexRule.REPAIRED)
    (repair,) = reader.report().repairs
    assert (repair.field, repair.old, repair.new) == ("apex", 1039, 994)
    assert "R12 or R15" in {clip.aus for clip in clips.values()}
    assert five.emotion is Emotion.ANGER
    assert (five.emotion_text, five.objective_class) == ("Anger", 3)
    assert [r.reason for r in reader.report().rejections] == ["no_frames"]
    assert five.annotation == "SAMM_Micro_FACS_Codes_v2.xlsx, sheet 'Sheet1', row 15"


def test_smic(fictitious):
    reader = open_clips(fictitious("smic").spec)
    clips = by_key(reader)
    assert {clip.emotion for clip in clips.values()} == {
        *(Emotion.NEGATIVE, Emotion.POSITIVE, Emotion.SURPRISE)
    }
    assert {clip.apex_rule for clip in clips.values()} == {ApexRule.MIDDLE_FRAME}
    gap = next(
        clip for (subject, name), clip in clips.items() if (subject, name[-2:]) == ("s1", "01")
    )
    assert gap.apex == gap.onset + (gap.offset - gap.onset) // 2
    assert len(gap.numbers()) == gap.offset - gap.onset
    assert all(clip.aus is None for clip in clips.values())
    assert not any("non" in name for _, name in clips)
    assert [r.reason for r in reader.report().rejections] == ["no_frames"]


def test_smic_subjects_are_in_the_order_of_people(tmp_path):
    for subject in (1, 2, 10):
        clip = tmp_path / "HS" / f"s{subject}" / "micro" / "negative" / f"s{subject}_ne_01"
        clip.mkdir(parents=True)
        for number in (998, 999, 1000):
            (clip / f"reg_image{number}.bmp").write_bytes(b"")
    clips = open_clips(f"smic:{tmp_path}").clips()
    assert [clip.subject for clip in clips] == ["s1", "s2", "s10"]
    assert (clips[0].onset, clips[0].apex, clips[0].offset) == (998, 999, 1000)


def test_mmew(fictitious):
    reader = open_clips(fictitious("mmew").spec)
    clips = by_key(reader)
    moved, beyond = clips["S01", "S01-01-001"], clips["S01", "S01-02-001"]
    assert moved.emotion is Emotion.HAPPINESS
    assert moved.notes == ("is in the folder sadness, not happiness",)
    assert (beyond.apex, beyond.offset, beyond.apex_rule) == (9, 14, ApexRule.REPAIRED)
    others = [clip for clip in clips.values() if clip.emotion is Emotion.OTHERS]
    assert {clip.notes for clip in others if clip is not beyond} <= {
        *[("is in the folder repression, not others",)]
    }
    assert len(clips) == 8


def test_casme3(fictitious):
    reader = open_clips(fictitious("casme3").spec)
    clips = by_key(reader)
    assert [name for subject, name in clips if subject == "spNO.1"] == [
        *["a_98", "a_120", "b_102", "b_124"]
    ]
    # The last row says B.
    assert ("spNO.2", "b_125") in clips
    assert clips["spNO.1", "a_98"].notes == ("the apex is the onset",)
    assert clips["spNO.1", "a_120"].offset == 129
    assert clips["spNO.1", "b_102"].apex_rule is ApexRule.REPAIRED
    assert clips["spNO.1", "a_98"].frames is clips["spNO.1", "a_120"].frames
    assert clips["spNO.1", "a_98"].frames.folder.parts[-3] == "spNo.1"
    assert {clip.objective_class for clip in clips.values()} == {2, 3, 4, 7}


def test_casme3_release_of_clips(fictitious, copy):
    folder = copy("casme3")
    expected = by_key(open_clips(fictitious("casme3").spec))
    for (subject, name), clip in expected.items():
        target = folder / "Part_A_ME_clip" / f"{subject}_{name}".replace("spNO", "spNo")
        target.mkdir(parents=True)
        for number in clip.numbers():
            shutil.copy(clip.frames.path(number), target)
    shutil.rmtree(folder / "part_A")
    found = by_key(open_clips(f"casme3:{folder}"))
    assert found == expected


def test_casme3_part_c(fictitious):
    spec = fictitious("casme3").spec
    clips = open_clips(f"{spec}?part=C").clips()
    assert [clip.clip for clip in clips] == ["1", "2", "3"] * 2
    assert {clip.apex_rule for clip in clips} == {ApexRule.MIDDLE_FRAME}
    assert [clip.aus for clip in clips[:3]] == ["4", "L14,24,", "4\N{FULLWIDTH COMMA}10"]
    assert [code.number for code in parse_facs(clips[2].aus).codes] == [4, 10]
    assert clips[0].emotion is Emotion.NEGATIVE
    with pytest.raises(ValueError, match="part 'B' is unknown"):
        open_clips(f"{spec}?part=B")


def test_fourdme(fictitious):
    reader = open_clips(fictitious("fourdme").spec)
    clips = by_key(reader)
    first = clips["S01", "1st_001_01_1"]
    assert first.notes == ("the files of the folder are counted from the onset",)
    assert first.frames.path(first.onset).name == "00001.jpg"
    both = [clip for clip in clips.values() if "+" in clip.emotion_text]
    assert both
    assert {clip.emotion for clip in both} == {Emotion.NEGATIVE}
    assert {r.reason for r in reader.report().rejections} == {"several_emotions"}


def test_fourdme_emotions_by_columns(copy):
    folder = copy("fourdme")
    sheet = folder / "4DME_Labelling_Micro_release v1.xlsx"
    expected = [clip.emotion for clip in open_clips(f"fourdme:{folder}").clips()]
    edit(sheet, {f"G{row}": None for row in range(2, 10)})
    assert [clip.emotion for clip in open_clips(f"fourdme:{folder}").clips()] == expected
    edit(sheet, {f"{column}3": 0 for column in "HIJKL"})
    with pytest.raises(ValueError, match=r"row 3, column G \(Emotion\): no emotion"):
        open_clips(f"fourdme:{folder}").clips()


def test_fourdme_swapped_rows_are_left_out(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["sub_ID", "fold_name", "Onset", "Apex", "Offset", "AUs", "Emotion"])
    for row in range(2, 150):
        book.active.append([f"S{row}", f"c{row}", 1, 5, 9, "AU4+AU12(k)", "Negative"])
    book.save(tmp_path / "4DME_Labelling_Micro_release v1.xlsx")
    reader = open_clips(f"fourdme:{tmp_path}", frames=False)
    assert len(reader.clips()) == 146
    assert [(r.origin, r.reason) for r in reader.report().rejections] == [
        ("fourdme:S146/c146", "labels_swapped"),
        ("fourdme:S147/c147", "labels_swapped"),
    ]


# Bad sheets: file, row and column are named.


def test_a_missing_column(copy):
    folder = copy("samm")
    edit(folder / "SAMM_Micro_FACS_Codes_v2.xlsx", {"E14": "Peak"})
    with pytest.raises(
        ValueError, match=r"FACS_Codes_v2.xlsx: .* row 14 has no column 'ApexFrame'"
    ):
        open_clips(f"samm:{folder}").clips()


def test_text_in_a_frame_column(copy):
    folder = copy("samm")
    edit(folder / "SAMM_Micro_FACS_Codes_v2.xlsx", {"D17": "about 990"})
    with pytest.raises(
        ValueError, match=r"v2.xlsx, .*row 17, column D \(Onset Frame\): 'about 990'"
    ):
        open_clips(f"samm:{folder}").clips()


def test_an_unknown_emotion(copy):
    folder = copy("samm")
    edit(folder / "SAMM_Micro_FACS_Codes_v2.xlsx", {"J16": "Joy?"})
    with pytest.raises(
        ValueError, match=r"row 16, column J \(Estimated Emotion\): unknown emotion"
    ):
        open_clips(f"samm:{folder}").clips()


@pytest.mark.parametrize("name", ["../../secret", "..", "a/b"])
def test_a_path_that_leaves_the_root(copy, name):
    folder = copy("samm")
    edit(folder / "SAMM_Micro_FACS_Codes_v2.xlsx", {"B18": name})
    reader = open_clips(f"samm:{folder}")
    rejections = reader.report().rejections
    (rejection,) = [each for each in rejections if each.reason == "unusable_frames"]
    assert re.search(r"v2.xlsx, sheet 'Sheet1', row 18: the path .* leaves", rejection.detail)
    assert reader.clips()


def test_frames_may_be_a_link_to_another_disk(copy, tmp_path):
    folder = copy("samm")
    (folder / "001" / "001_3_1").rename(tmp_path / "elsewhere")
    (folder / "001" / "001_3_1").symlink_to(tmp_path / "elsewhere")
    clips = {clip.clip for clip in open_clips(f"samm:{folder}").clips()}
    assert "001_3_1" in clips


def test_clips_without_frames_are_counted_with_their_row(copy):
    folder = copy("samm")
    for path in (folder / "001" / "001_3_1").iterdir():
        path.unlink()
    rejections = open_clips(f"samm:{folder}").report().rejections
    assert [r.reason for r in rejections] == ["no_frames", "no_frames"]
    assert rejections[0].detail == (
        "SAMM_Micro_FACS_Codes_v2.xlsx, sheet 'Sheet1', row 17: no frames are there"
    )


def test_no_frames_at_all_is_an_error(copy, tmp_path):
    folder = copy("samm")
    (tmp_path / "empty").mkdir()
    reader = open_clips(f"samm:{folder}?images={tmp_path / 'empty'}")
    with pytest.raises(ValueError, match=r"0 of 8 clips.*8 no_frames.*no clip is usable.*row 15"):
        reader.clips()


def test_a_clip_that_stands_twice(copy):
    folder = copy("samm")
    edit(folder / "SAMM_Micro_FACS_Codes_v2.xlsx", {"B16": "001_1_1"})
    (twice, _) = open_clips(f"samm:{folder}").report().rejections
    assert twice.reason == "listed_twice"
    assert "row 16: the clip stands in" in twice.detail


def test_a_users_corrections(copy):
    folder = copy("casme2")
    entry = "- {subject: sub01, clip: EP02_03f, field: offset, old: 17, new: 105, source: me}\n"
    (folder / "mine.yaml").write_text(entry)
    clips = by_key(open_clips(f"casme2:{folder}?corrections=mine.yaml"))
    assert clips["sub01", "EP02_03f"].offset == 105
    (folder / "mine.yaml").write_text(entry.replace("17", "18"))
    with pytest.raises(ValueError, match=r"row 4: offset of sub01 EP02_03f is 17, but"):
        open_clips(f"casme2:{folder}?corrections=mine.yaml").clips()
    (folder / "mine.yaml").write_text(entry.replace("sub01", "sub77"))
    with pytest.raises(ValueError, match="sub77/EP02_03f is no clip of casme2"):
        open_clips(f"casme2:{folder}?corrections=mine.yaml").clips()
