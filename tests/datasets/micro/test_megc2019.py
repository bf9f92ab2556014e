import shutil
from collections import Counter

import openpyxl
import pytest

from miex.datasets.clips.base import open_clips
from miex.datasets.micro.megc2019 import LIST_FILE, read_list


def test_the_real_list(shared):
    listed = read_list(shared / "megc2019" / LIST_FILE) if (shared / "megc2019").is_dir() else None
    listed = listed or read_list(shared / "data" / "megc2019" / LIST_FILE)
    assert len(listed) == 442
    assert len({(clip.database, clip.subject) for clip in listed}) == 68
    assert Counter(clip.label for clip in listed) == {0: 250, 1: 109, 2: 83}
    assert Counter(clip.database for clip in listed) == {"casme2": 145, "smic": 164, "samm": 133}
    names = {(clip.database, clip.subject, clip.clip) for clip in listed}
    assert ("smic", "s1", "s1_ne_01") in names
    assert ("samm", "006", "006_1_2") in names
    assert ("casme2", "sub01", "EP02_01f") in names


def test_the_broken_sibling_is_refused_with_the_reason(shared):
    with pytest.raises(ValueError, match=r"441 clips .*samm negative: 91 instead of 92.*440 blank"):
        read_list(shared / "data" / "megc2019" / "combined_3class_gt-2.csv")


def test_blank_rows_are_dropped(fictitious, tmp_path):
    text = (fictitious("megc2019").folder / LIST_FILE).read_text()
    path = tmp_path / "list.csv"
    path.write_text(text.replace("\n", "\n,,,\n"))
    assert len(read_list(path)) == 442


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("casme2,sub01,EP02_01f", "line 443: .*expected database,subject,clip,label"),
        ("casme,sub01,EP02_01f,1", "line 443: .*one of casme2, smic, samm"),
        ("casme2,sub01,EP02_01f,3", "label from 0 to 2"),
        ("casme2,sub01,EP99_01f,1", "443 clips of 68 subjects, expected 442 of 68"),
    ],
)
def test_bad_lists(fictitious, tmp_path, line, message):
    path = tmp_path / "list.csv"
    path.write_text((fictitious("megc2019").folder / LIST_FILE).read_text() + line + "\n")
    with pytest.raises(ValueError, match=message):
        read_list(path)


def test_a_clip_that_stands_twice(fictitious, tmp_path):
    lines = (fictitious("megc2019").folder / LIST_FILE).read_text().splitlines()
    path = tmp_path / "list.csv"
    path.write_text("\n".join([*lines, lines[0]]))
    with pytest.raises(ValueError, match="occurs twice"):
        read_list(path)


def test_the_composite_is_joined_to_its_databases(fictitious):
    drawn = fictitious("megc2019")
    reader = open_clips(drawn.spec)
    clips = reader.clips()
    assert len(clips) == 442
    assert len({clip.key[:2] for clip in clips}) == 68
    assert Counter(clip.listed_label for clip in clips) == {0: 250, 1: 109, 2: 83}
    assert {clip.database for clip in clips} == {"casme2", "smic", "samm"}
    own = {clip.key for clip in open_clips(f"smic:{drawn.folder / 'smic'}").clips()}
    assert {clip.key for clip in clips if clip.database == "smic"} == own
    report = reader.report()
    assert (report.database, report.listed, report.published) == ("megc2019", 442, 442)
    assert report.rejections == ()


def test_what_the_composite_cannot_find_is_counted(fictitious, tmp_path):
    drawn = fictitious("megc2019")
    folder = tmp_path / "megc"
    shutil.copytree(drawn.folder, folder)
    shutil.rmtree(folder / "smic" / "SMIC_all_raw" / "HS" / "s1" / "micro" / "negative")
    sheet = folder / "samm" / "SAMM_Micro_FACS_Codes_v2.xlsx"
    book = openpyxl.load_workbook(sheet)
    clip = book.worksheets[0]["B2"].value
    subject = f"{book.worksheets[0]['A2'].value:03}"
    book.save(sheet)
    shutil.rmtree(folder / "samm" / subject / clip)
    reader = open_clips(f"megc2019:{folder}?smic={folder / 'smic'}&samm={folder / 'samm'}")
    reasons = Counter(r.reason for r in reader.report().rejections)
    missing = sum(c.subject == "s1" and c.label == 0 for c in read_list(folder / LIST_FILE))
    assert reasons == {"database_not_given": 145, "not_in_database": missing, "no_frames": 1}
    assert len(reader.clips()) == 442 - sum(reasons.values())


def test_the_class_is_that_of_the_list(fictitious, tmp_path):
    drawn = fictitious("megc2019")
    samm = tmp_path / "samm"
    shutil.copytree(drawn.folder / "samm", samm)
    sheet = samm / "SAMM_Micro_FACS_Codes_v2.xlsx"
    book = openpyxl.load_workbook(sheet)
    assert book.worksheets[0]["G2"].value == "Disgust"
    book.worksheets[0]["G2"] = "Happiness"
    name = book.worksheets[0]["B2"].value
    book.save(sheet)
    clips = open_clips(f"megc2019:{drawn.folder}?samm={samm}").clips()
    clip = next(clip for clip in clips if clip.clip == name)
    assert clip.listed_label == 0
    assert clip.notes == ("the list says negative, the database happiness",)


def test_a_database_is_needed(fictitious):
    with pytest.raises(ValueError, match="megc2019 needs the databases of its list"):
        open_clips(f"megc2019:{fictitious('megc2019').folder}")
