"""Links, loops, special files, names and options: accepted, or left out with a reason."""

import os
import unicodedata
from urllib.parse import quote

import pytest
from PIL import Image

from miex.datasets.faces.base import SourceSpec, open_face_source
from miex.datasets.images import UnusablePhotograph, open_photograph
from miex.datasets.paths import (
    SpecialFile,
    Unusable,
    given_path,
    in_table,
    inside,
    open_regular,
    plain_name,
    require_plain,
    split_options,
    walk_files,
)


def photograph(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), (90, 80, 70)).save(path)
    return path


def test_folders_that_are_linked_to_each_other_are_visited_once(tmp_path):
    for name in "abc":
        photograph(tmp_path / name / "1.png")
        for other in "abc":
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    (tmp_path / "up").symlink_to(tmp_path)
    found = [path.as_posix() for path in walk_files(tmp_path)]
    assert len(found) == 3
    assert len({os.stat(tmp_path / path).st_ino for path in found}) == 3


def test_what_is_no_file_is_left_out_with_its_reason(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    with open(os.fsencode(tmp_path) + b"/\xff\xfe.png", "wb"):
        pass
    photograph(tmp_path / "good.png")
    source = open_face_source(f"folder:{tmp_path}")
    assert [each.path.name for each in source.photographs()] == ["good.png"]
    reasons = {each.origin.partition(":")[2]: each.reason for each in source.skipped()}
    assert reasons == {
        "fifo.png": "special_file",
        "endless.png": "special_file",
        "broken.png": "broken_link",
        "circle.png": "broken_link",
        r"\xff\xfe.png": "name_not_utf8",
    }


def test_special_files_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(SpecialFile):
            open_regular(path)
    with pytest.raises(UnusablePhotograph, match="FIFO"):
        open_photograph(tmp_path / "fifo", 50, 2048)


def test_names_in_either_normal_form(tmp_path):
    decomposed = unicodedata.normalize("NFD", "Zoë")
    (tmp_path / decomposed).mkdir()
    assert inside(tmp_path, unicodedata.normalize("NFC", "zoë")) == tmp_path / decomposed


def test_paths_in_tables(tmp_path):
    path = photograph(tmp_path / "a b" / "1.png")
    assert in_table(tmp_path, r"a b\1.png") == in_table(tmp_path, "a b/1.png") == path
    assert in_table(tmp_path / "elsewhere", str(path)) == path
    assert in_table(tmp_path, "a b/2.png") is None
    assert in_table(tmp_path, "x" * 5000) is None
    with pytest.raises(ValueError, match="leaves"):
        in_table(tmp_path, "../a")


@pytest.mark.parametrize("name", ["a+b", "50%", "x&y", "what?", "a=b", "ü %41", "p?q=r&s"])
def test_marks_in_paths_and_values_are_literal(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    spec = SourceSpec.parse(f"celeba:{folder}?images={folder}&identities={tmp_path}")
    assert spec.path == folder
    assert spec.options == {"images": str(folder), "identities": str(tmp_path)}
    assert SourceSpec.parse(f"celeba:{folder}").path == folder
    coded = SourceSpec.parse(f"celeba:{tmp_path}?images={quote(str(folder), safe='')}")
    assert coded.options["images"] == str(folder)
    assert given_path(tmp_path, name) == folder


def test_options_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="KEY=VALUE"):
        split_options("a?b")
    with pytest.raises(ValueError, match="given twice"):
        split_options("a?b=1&b=2")


@pytest.mark.parametrize("text", ["../x", "/etc/passwd", "a/../../x", "", None, 3, "a\\b", "a\0"])
def test_a_manifest_names_files_of_its_folder_only(tmp_path, text):
    with pytest.raises(ValueError, match="outside its folder"):
        require_plain(tmp_path, text, "manifest.json")


@pytest.mark.parametrize("text", ["../x", "/x", "", "..", "a\\b", "a\0", "a/b", "é" * 130])
def test_names_of_written_files_are_plain(text):
    assert plain_name("miex-00000042", "x") == "miex-00000042"
    with pytest.raises(ValueError, match=r"data: .* is no plain name for a file"):
        plain_name(text, "data")


def test_unusable_says_what_and_why(tmp_path):
    (tmp_path / "broken").symlink_to("nowhere")
    assert list(walk_files(tmp_path)) == [Unusable("broken", "broken_link", "a broken link")]
