"""Tables in every way in which people and programs write them."""

import zipfile

import numpy as np
import psutil
import pytest
from openpyxl import Workbook

from miex.datasets.cells import decimal, whole_number
from miex.datasets.clips.sheets import read_rows
from miex.datasets.tables import open_sheets

COLUMNS = {name: (name,) for name in ("subject", "clip", "emotion", "onset", "offset")}
OPTIONAL = {"apex": ("apex",), "aus": ("aus",)}
HEADER = ["subject", "clip", "emotion", "onset", "apex", "offset", "aus"]
ROW = ["006", "a", "happiness", 1, 8, 12, "1,2,4"]


def book(path, *sheets):
    """Write an Excel file of sheets: (title, state, rows)."""
    workbook = Workbook()
    workbook.remove(workbook.active)
    for title, state, rows in sheets:
        sheet = workbook.create_sheet(title)
        sheet.sheet_state = state
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return path


def read(path):
    return read_rows(path, COLUMNS, OPTIONAL)


def text_file(path, rows, delimiter=";", encoding="utf-8"):
    lines = [delimiter.join(map(str, row)) for row in rows]
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_header_decides_the_delimiter(tmp_path, delimiter):
    (row,) = read(text_file(tmp_path / "t.csv", [HEADER, ROW], delimiter))
    assert (row.text("subject"), row.frame("apex"), row.text("aus")) == ("006", 8, "1,2,4")


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gbk", "gb18030"]
)
def test_encodings(tmp_path, encoding):
    rows = [[*HEADER, "备注"], [*ROW[:6], "4", "受试者甲"]]
    (row,) = read(text_file(tmp_path / "t.csv", rows, encoding=encoding))
    assert (row.text("subject"), row.frame("onset")) == ("006", 1)


def test_titles_without_regard_to_case_and_blanks(tmp_path):
    header = [" Subject", "CLIP ", "Emotion", "on set", "Apex", "off_set", "AUs"]
    (row,) = read(text_file(tmp_path / "t.csv", [header, ROW]))
    assert row.frame("offset") == 12


def test_a_title_that_stands_twice_is_refused(tmp_path):
    path = text_file(tmp_path / "t.csv", [[*HEADER, "Apex"], [*ROW, 9]])
    with pytest.raises(ValueError, match="columns E, H all have the title 'apex'"):
        read(path)


@pytest.mark.parametrize("value", [6, 6.0, "6", "6.0", "6,0", " 6 "])
def test_whole_numbers_in_every_writing_are_alike(tmp_path, value):
    row = ["1.0", "a", "sad", 1, value, 12, value]
    for path in (
        book(tmp_path / "t.xlsx", ("s", "visible", [HEADER, row])),
        text_file(tmp_path / "t.csv", [HEADER, row]),
    ):
        (found,) = read(path)
        assert found.frame("apex") == 6
        assert (found.text("subject"), found.text("aus")) == ("1", "6")


@pytest.mark.parametrize("word", ["#REF!", "#N/A", "#VALUE!", "#DIV/0!"])
def test_error_cells_are_errors_that_name_the_cell(tmp_path, word):
    row = ["1", "a", "sad", 1, word, 12, "4"]
    for path in (
        book(tmp_path / "t.xlsx", ("s", "visible", [HEADER, row])),
        text_file(tmp_path / "t.csv", [HEADER, row]),
    ):
        (found,) = read(path)
        with pytest.raises(ValueError, match=rf"row 2, column E \(apex\): .*{word}"):
            found.optional_frame("apex")


@pytest.mark.parametrize("word", ["NA", "N/A", "nan", "null", "None", "-"])
def test_na_words_are_never_an_absent_apex(tmp_path, word):
    row = ["NA", "a", "sad", 1, word, 12, "4"]
    (found,) = read(book(tmp_path / "t.xlsx", ("s", "visible", [HEADER, row])))
    assert found.text("subject") == "NA"
    with pytest.raises(ValueError, match=r"column E \(apex\): .* is no frame number"):
        found.optional_frame("apex")


def test_a_formula_whose_value_was_never_stored_is_an_error(tmp_path):
    row = ["1", "a", "sad", 1, "=4+4", 12, "4"]
    (found,) = read(book(tmp_path / "t.xlsx", ("s", "visible", [HEADER, row])))
    with pytest.raises(ValueError, match="formula without a stored value"):
        found.optional_frame("apex")


@pytest.mark.parametrize("text", ["1,000", "1.000", "12.000"])
def test_thousands_are_never_a_decimal_part(tmp_path, text):
    row = ["1", "a", "sad", 1, text, 2000, "4"]
    for path in (
        book(tmp_path / "t.xlsx", ("s", "visible", [HEADER, row])),
        text_file(tmp_path / "t.csv", [HEADER, row]),
    ):
        (found,) = read(path)
        with pytest.raises(ValueError, match=rf"column E \(apex\): '{text}' is no frame number"):
            found.optional_frame("apex")


def test_a_line_with_more_values_than_titles_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"{','.join(HEADER)}\n6,a,sad,1,8,12,1,2,4\n")
    with pytest.raises(ValueError, match=r"row 2: 9 values, but the header has 7.*into quotes"):
        read(path)
    path.write_text(f"{','.join(HEADER)}\n6,a,sad,1,8,12,4,,\n")
    assert read(path)[0].text("aus") == "4"
    beside = [[*HEADER], [*ROW, "see the paper"]]
    assert len(read(book(tmp_path / "t.xlsx", ("s", "visible", beside)))) == 1


def test_identifiers_are_alike_in_csv_and_excel(tmp_path):
    rows = [HEADER, *([name, *ROW[1:]] for name in (True, "NA", 3.0, "003"))]
    ids = [
        [row.text("subject") for row in read(path)]
        for path in (
            book(tmp_path / "t.xlsx", ("s", "visible", rows)),
            text_file(tmp_path / "t.csv", [[str(c).upper() if c is True else c for c in r]
                                           for r in rows]),
        )
    ]  # fmt: skip
    assert ids == [["TRUE", "NA", "3", "003"]] * 2


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_hidden_sheets_are_skipped(tmp_path, state):
    old = ("old", state, [HEADER, ["1", "a", "sad", 1, 2, 3, "4"]])
    path = book(tmp_path / "t.xlsx", old, ("new", "visible", [HEADER, ROW]))
    (row,) = read(path)
    assert (row.frame("apex"), row.sheet.name) == (8, "new")


def test_a_hidden_table_is_named(tmp_path):
    path = book(
        tmp_path / "t.xlsx", ("label", "hidden", [HEADER, ROW]), ("notes", "visible", [["hello"]])
    )
    with pytest.raises(ValueError, match=r"hidden sheets are not read, unhide .*: 'label'"):
        read(path)


def test_two_sheets_that_match_are_refused_by_name(tmp_path):
    path = book(
        tmp_path / "t.xlsx", *((name, "visible", [HEADER, ROW]) for name in ("first", "second"))
    )
    with pytest.raises(ValueError, match="the sheets 'first' and 'second' both"):
        read(path)


@pytest.mark.parametrize(
    "below",
    [
        [[], ["备注 a 的帧缺失"]],
        [[], ["Note", "see the paper"]],
        [["Note: the apex of clip a is doubtful"]],
        [[None, None, "  "], ["\u3000", " "]],
        [[], ["x y"], [None, None, "共 6 条"]],
        [["备注\uff1a以上数据由两名编码员标注"]],
        [["Note"], ["(twice)"]],
        [[], ["n =", 2]],
    ],
)
def test_remarks_and_blanks_below_the_table_are_no_rows(tmp_path, below):
    assert len(read(book(tmp_path / "t.xlsx", ("s", "visible", [HEADER, ROW, *below])))) == 1


def test_a_row_that_lacks_its_cells_is_no_remark(tmp_path):
    rows = [HEADER, ROW, ["7"], ["8", "b", "sad", 1, 2, 3, "4"]]
    found = read(book(tmp_path / "t.xlsx", ("s", "visible", rows)))
    assert len(found) == 3
    with pytest.raises(ValueError, match=r"row 3, column B \(clip\): the cell is empty"):
        found[1].text("clip")


def test_one_stray_cell_costs_no_memory(tmp_path):
    path = book(tmp_path / "t.xlsx", ("s", "visible", [HEADER, ROW]))
    workbook = Workbook()
    for row in (HEADER, ROW):
        workbook.active.append(row)
    workbook.active["XFD1048576"] = "x"
    workbook.save(path)
    before = psutil.Process().memory_info().rss
    assert len(read(path)) == 1
    assert psutil.Process().memory_info().rss - before < 200e6


@pytest.mark.parametrize("filling", [b"<!-- " + b"x" * (1 << 26) + b" -->", b" " * (1 << 26)])
def test_parts_that_unpack_to_gigabytes_are_refused(tmp_path, filling):
    path = book(tmp_path / "t.xlsx", ("s", "visible", [HEADER, ROW]))
    bomb = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("sheet1.xml"):
                content = content.replace(b"<sheetData>", filling + b"<sheetData>")
            new.writestr(name, content)
    with pytest.raises(ValueError, match=r"bomb.xlsx cannot be read as an Excel file .*larger"):
        read(bomb)


BOMBS = {
    "xl/styles.xml": (b"<cellXfs", b"<xf/>" * 200_000, "100000 are read"),
    "xl/workbook.xml": (b"</sheets>", b'<sheet name="x" sheetId="2" r:id="rId1"/>' * 6000, "tags"),
    "xl/sharedStrings.xml": (b"</sst>", b"<si/>" * 500_000, "400000 are read"),
    "xl/_rels/workbook.xml.rels": (b"</Rel", b'<Relationship Id="r"/>' * 150_000, "tags"),
    "docProps/core.xml": (b"</cp:core", b"<a/>" * 150_000, "tags"),
    "xl/worksheets/sheet1.xml deep": (b"</sheetData", b"<c>" * 250_000, "nested deeper than"),
    "xl/worksheets/sheet1.xml row": (b"</sheetData", b"<c/>" * 250_000, "inside one sheetData"),
    "xl/worksheets/sheet1.xml merged": (
        b"</worksheet", b"<mergeCells>" + b"<mergeCell/>" * 250_000, "inside one mergeCells",
    ),
    "xl/worksheets/sheet1.xml attribute": (
        b"<sheetData", b'<sheetPr x="' + b"a" * (2 << 20) + b'"/>', "more than 1 MiB",
    ),
    "xl/worksheets/sheet1.xml comment": (
        b"<sheetData", b"<!--" + b"<>" * (1 << 20) + b"-->", "more than 1 MiB",
    ),
    "xl/worksheets/sheet1.xml laughs": (b"<worksheet", b"<!DOCTYPE a []>", "document type"),
    "xl/worksheets/sheet1.xml wide": (
        b"</sheetData",
        b"".join(b'<row r="%d"><c r="XFD%d"><v>1</v></c></row>' % (n, n) for n in range(3, 99)),
        "more than 1000000 cells",
    ),
}  # fmt: skip
"""Place in a part before which much is put, and what the message says of it."""


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_that_cost_much_are_refused_at_once(tmp_path, name):
    path = book(tmp_path / "t.xlsx", ("s", "visible", [HEADER, ROW]))
    (place, filling, message), part = BOMBS[name], name.split()[0]
    bomb = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for each in {*old.namelist(), part}:
            content = old.read(each) if each in old.namelist() else b"<sst></sst>"
            if each == part:
                content = content.replace(place, filling + place)
            new.writestr(each, content)
    process = psutil.Process()
    before, began = process.memory_info().rss, process.cpu_times().user
    with pytest.raises(ValueError, match=rf"bomb.xlsx cannot be read .*{message}"):
        read(bomb)
    assert process.memory_info().rss - before < 200e6
    assert process.cpu_times().user - began < 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b'subject;clip\n"a;b\n', "quote"),
        (b"\x00\x01\x02" * 100, "no text file"),
        (b"subject;" + b"x" * (1 << 21), "longer than"),
    ],
)
def test_text_files_that_cannot_be_read(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "t.csv")


def test_noise_is_told_in_one_line(tmp_path):
    rng = np.random.default_rng(3)
    whole = book(tmp_path / "t.xlsx", ("s", "visible", [HEADER, ROW])).read_bytes()
    for number in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), 1 + number % 5):
            content[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "n.xlsx").write_bytes(content)
        told = "n.xlsx"
        try:
            assert all(row.number > 1 for row in read(tmp_path / "n.xlsx"))
        except ValueError as error:
            told = str(error)
        assert "n.xlsx" in told


def test_numbers():
    assert [whole_number(v) for v in ("006", "6.50", True, 2.5, 7.0)] == [
        *("006", None, None, None),
        "7",
    ]
    assert decimal("0,5") == decimal("0.5") == 0.5
    with pytest.raises(ValueError, match="no number"):
        decimal("1_000")


def test_special_files_are_no_tables(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        list(open_sheets(tmp_path))
