"""Checksums inside of kept files, documents, and locks."""

import json
import logging
import multiprocessing
import os
import time

import pytest

from miex.datasets.documents import read_document, write_document
from miex.datasets.files import whole_file
from miex.datasets.locks import lock_path, locked
from miex.datasets.seals import UNSEALED, DamagedFile, check_seal, has_valid_seal


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "d.json"
    write_document(path, {"emotion": "happiness", "subject": "sub01", "numbers": [1, 2.5]})
    return path


def test_a_document_comes_back_without_its_seal(document):
    content = {"emotion": "happiness", "subject": "sub01", "numbers": [1, 2.5]}
    assert read_document(document, "document", "write it again") == content
    assert has_valid_seal(document)
    assert "miex-sha256:" in document.read_text()


def test_every_flipped_bit_is_noticed(document):
    whole = document.read_bytes()
    silent = []
    for place in range(len(whole)):
        for bit in range(8):
            content = bytearray(whole)
            content[place] ^= 1 << bit
            document.write_bytes(content)
            try:
                read_document(document, "document", "write it again")
                silent.append(place)
            except ValueError:
                continue
    assert silent == []


def test_a_file_without_a_seal_is_read_with_a_warning(tmp_path, caplog):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"a": 1}))
    with caplog.at_level(logging.WARNING, "miex"):
        assert read_document(path, "document", "write it again") == {"a": 1}
    assert "carries no checksum" in caplog.text


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{", b"[" * 100_000, b'"x"'])
def test_damaged_documents_are_told_in_one_line(tmp_path, content):
    (tmp_path / "d.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"d.json is (damaged|empty) .*; write it again") as caught:
        read_document(tmp_path / "d.json", "document", "write it again")
    assert "\n" not in str(caught.value)


def test_a_file_that_changes_after_it_was_verified_is_verified_again(tmp_path):
    path = tmp_path / "f"
    with whole_file(path, sealed=True) as temporary:
        temporary.write_bytes(b"header " + UNSEALED.encode() + b" content")
    assert check_seal(path, "write it again")
    path.write_bytes(path.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(DamagedFile, match="write it again"):
        check_seal(path, "write it again")


def _hold(path, seconds):
    with locked(path):
        time.sleep(seconds)


def test_the_second_run_waits_and_says_who_is_at_work(tmp_path):
    out = tmp_path / "out.parquet"
    other = multiprocessing.get_context("fork").Process(target=_hold, args=(out, 4))
    other.start()
    while not lock_path(out).exists() or not lock_path(out).read_text():
        time.sleep(0.05)
    said = []
    with locked(out, said.append):
        assert not other.is_alive() or other.join(10) is None
    assert f"process {other.pid} on " in said[0]
    assert not lock_path(out).exists()


def test_a_lock_of_a_killed_run_is_stale(tmp_path):
    out = tmp_path / "out.parquet"
    other = multiprocessing.get_context("fork").Process(target=_hold, args=(out, 60))
    other.start()
    while not lock_path(out).exists() or not lock_path(out).read_text():
        time.sleep(0.05)
    os.kill(other.pid, 9)
    other.join()
    said = []
    with locked(out, said.append):
        assert not said
