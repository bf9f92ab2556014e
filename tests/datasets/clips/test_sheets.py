import datetime

import pytest
from openpyxl import Workbook

from miex.datasets.clips.sheets import read_rows
from miex.datasets.labels import Emotion

REQUIRED = {"subject": ("Subject",), "onset": ("Onset Frame", "OnsetF"), "aus": ("Action Units",)}


def write(path, rows, empty=()):
    book = Workbook()
    book.active.title = "label"
    for row in rows:
        book.active.append(row)
    for name in empty:
        book.create_sheet(name, 0)
    book.save(path)
    return path


def test_columns_are_found_by_name_below_notes(tmp_path):
    notes = [[None], [None, "A note"], ["Subject: see below"]]
    header = ["action_units", None, "Onset  frame", "subject "]
    path = write(
        tmp_path / "s.xlsx", [*notes, header, [4, None, 12, 6], [None] * 4, ["R12", 0, 13, 7]]
    )
    first, second = read_rows(path, REQUIRED)
    assert (first.number, second.number) == (5, 7)
    assert first.where == "s.xlsx, sheet 'label', row 5"
    assert (first.text("subject"), first.frame("onset"), first.text("aus")) == ("6", 12, "4")
    assert second.text("aus") == "R12"


def test_empty_sheets_before_the_table_do_no_harm(tmp_path):
    rows = [["Subject", "OnsetF", "Action Units"], ["1", "355", "5"]]
    path = write(tmp_path / "s.xlsx", rows, empty=("Sheet1",))
    (row,) = read_rows(path, REQUIRED)
    assert row.frame("onset") == 355


def test_a_missing_column_is_named_with_what_there_is(tmp_path):
    rows = [["note"], ["Subject", "Frames", "Action Units"], [1, 2, 3]]
    path = write(tmp_path / "s.xlsx", rows)
    with pytest.raises(
        ValueError, match=r"s.xlsx: sheet 'label', row 2 has no column 'Onset Frame'"
    ):
        read_rows(path, REQUIRED)
    with pytest.raises(ValueError, match="only: Subject, Frames, Action Units"):
        read_rows(path, REQUIRED)


@pytest.mark.parametrize("value", ["abc", "12.5", 12.5, "-4", "1e3", "#REF!", True])
def test_text_in_a_frame_column_is_named_as_in_excel(tmp_path, value):
    path = write(tmp_path / "s.xlsx", [["Subject", "OnsetF", "Action Units"], [1, value, "4"]])
    (row,) = read_rows(path, REQUIRED)
    with pytest.raises(ValueError, match=r"s.xlsx, sheet 'label', row 2, column B \(OnsetF\)"):
        row.frame("onset")


@pytest.mark.parametrize("value", [46, 46.0, "46", " 46 ", "0046"])
def test_frame_numbers_in_every_writing(tmp_path, value):
    path = write(tmp_path / "s.xlsx", [["Subject", "OnsetF", "Action Units"], [1, value, "4"]])
    assert read_rows(path, REQUIRED)[0].frame("onset") == 46


def test_marks_for_an_absent_frame(tmp_path):
    path = write(tmp_path / "s.xlsx", [["Subject", "OnsetF", "Action Units"], [1, "/", "4"], [2]])
    slash, empty = read_rows(path, REQUIRED)
    assert slash.optional_frame("onset", ("/",)) is None
    assert empty.optional_frame("onset") is None
    with pytest.raises(ValueError, match="'/' is no frame number"):
        slash.frame("onset")
    with pytest.raises(ValueError, match="the cell is empty"):
        empty.frame("onset")
    with pytest.raises(ValueError, match=r"column C \(Action Units\): the cell is empty"):
        empty.text("aus")


def test_a_date_that_excel_made_of_aus_is_refused(tmp_path):
    date = datetime.datetime(2019, 10, 4)
    path = write(tmp_path / "s.xlsx", [["Subject", "OnsetF", "Action Units"], [1, 2, date]])
    with pytest.raises(ValueError, match="Excel converted it to the date"):
        read_rows(path, REQUIRED)[0].text("aus")


def test_emotions_and_classes(tmp_path):
    columns = {"emotion": ("emotion",), "objective_class": ("class",)}
    rows = [["emotion", "class"], ["Sad", "VII"], ["happy", 3], ["joyful", "VIII"], ["fear", None]]
    sad, happy, wrong, none = read_rows(write(tmp_path / "s.xlsx", rows), columns)
    assert (sad.emotion(), sad.objective_class()) == (Emotion.SADNESS, 7)
    assert (happy.emotion(), happy.objective_class()) == (Emotion.HAPPINESS, 3)
    assert none.objective_class() is None
    with pytest.raises(ValueError, match=r"row 4, column A \(emotion\): unknown emotion 'joyful'"):
        wrong.emotion()
    with pytest.raises(ValueError, match="'VIII' is no objective class"):
        wrong.objective_class()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_any_delimiter(tmp_path, delimiter):
    lines = ["\ufeffSubject,Onset Frame,Action Units", "006,12,4", "", "7,13,12"]
    path = tmp_path / "s.csv"
    path.write_text("\r\n".join(lines).replace(",", delimiter), encoding="utf-8")
    first, second = read_rows(path, REQUIRED)
    assert (first.text("subject"), first.where) == ("006", "s.csv, row 2")
    assert (second.text("aus"), second.number) == ("12", 4)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="no annotation sheet at"):
        read_rows(tmp_path / "absent.xlsx", REQUIRED)
    for name in ("bad.xlsx", "bad.xls"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 damaged" * 10)
        with pytest.raises(ValueError, match=f"{name} cannot be read as an Excel file"):
            read_rows(tmp_path / name, REQUIRED)
    (tmp_path / "latin.csv").write_bytes("Subject,Müller".encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_rows(tmp_path / "latin.csv", REQUIRED)
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty.csv is empty"):
        read_rows(tmp_path / "empty.csv", REQUIRED)
    path = write(tmp_path / "headonly.xlsx", [["Subject", "OnsetF", "Action Units"]])
    with pytest.raises(ValueError, match="no rows below the header in row 1"):
        read_rows(path, REQUIRED)
