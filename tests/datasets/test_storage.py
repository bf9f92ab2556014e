from pathlib import Path

import pytest

from miex.datasets import storage
from miex.datasets.documents import read_document, write_document
from miex.datasets.files import whole_file
from miex.datasets.given_files import read_given, require_file


@pytest.fixture(params=["local", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder here, and addresses as `pathlib` leaves them."""
    addresses = {"file": f"file://{tmp_path}/a/b", "memory": f"memory://{tmp_path.name}/a/b"}
    return Path(addresses.get(request.param, tmp_path / "a" / "b"))


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("s3://bucket/key", "s3://bucket/key"),
        (Path("s3://bucket/key"), "s3://bucket/key"),
        (Path("s3:/bucket") / "key", "s3://bucket/key"),
        (Path("file:///tmp/x"), "file:///tmp/x"),
        ("celeba:/data/celeba", None),
        (Path("data/miex"), None),
        (Path("/data/a:/b"), None),
        (Path("C:/data"), None),
        ("unknown://place", None),
    ],
)
def test_addresses_are_told_from_paths(place: str | Path, address: str | None) -> None:
    assert storage.is_address(place) == (address is not None)
    if address:
        assert storage.address_of(place) == address
        assert storage.absolute(place) == Path(place)


def test_files_are_written_read_listed_and_removed(folder: Path) -> None:
    assert storage.sizes(folder) == {}
    assert storage.names_in(folder) == set()
    for name in ("one.txt", "below/two.txt"):
        with whole_file(folder / name) as temporary:
            temporary.write_text(name)
            assert not storage.exists(folder / name)
    assert storage.sizes(folder) == {"one.txt": 7, "below/two.txt": 13}
    assert storage.names_in(folder) == {"one.txt", "below"}
    assert storage.size(folder / "one.txt") == 7
    assert storage.size(folder / "three.txt") is None
    assert storage.read_bytes(folder / "below" / "two.txt") == b"below/two.txt"
    with storage.open_binary(folder / "one.txt") as file:
        assert file.read(3) == b"one"
    with storage.borrowed(folder / "one.txt") as path:
        assert path.read_text() == "one.txt"
    storage.remove(folder / "below")
    storage.remove(folder / "nothing")
    assert storage.sizes(folder) == {"one.txt": 7}


def test_an_interrupted_file_is_not_there(folder: Path) -> None:
    with whole_file(folder / "kept.txt") as temporary:
        temporary.write_text("kept")
    with pytest.raises(FileNotFoundError), whole_file(folder / "kept.txt") as temporary:
        (temporary.parent / "absent").rename(temporary)
    assert storage.read_bytes(folder / "kept.txt") == b"kept"
    assert storage.sizes(folder) == {"kept.txt": 4}


def test_copies_follow_the_version_of_a_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEX_CACHE", str(tmp_path / "cache"))
    for text in ("first", "second one"):
        with whole_file(folder / "x.txt") as temporary:
            temporary.write_text(text)
        for _ in range(2):
            copy = storage.local_file(folder / "x.txt")
            assert copy.read_text() == text
            assert not storage.is_address(copy)


def test_documents_at_addresses_are_sealed(folder: Path) -> None:
    write_document(folder / "x.json", {"a": 1})
    assert read_document(folder / "x.json", "record", "make it again") == {"a": 1}
    assert require_file(folder / "x.json", "record", "make it again") == folder / "x.json"
    with pytest.raises(FileNotFoundError, match=r"no record at .*y\.json; make it again"):
        read_given(folder / "y.json", "record", "make it again")


def test_errors_name_the_address_without_its_secrets(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing at memory://nobody/x"):
        storage.read_bytes("memory://nobody/x")
    with pytest.raises(ValueError, match=r"ftp://\*\*\*@.* cannot be (read|written)"):
        storage.read_bytes("ftp://user:secret@127.0.0.1:9/x")


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:hunter2@bucket/data",
        "https://me:hunter2@host/faces.parquet",
        "https://host/faces.parquet?X-Amz-Signature=hunter2",
        "hf://datasets/me/x?token=hunter2",
    ],
)
def test_an_address_with_a_password_is_refused(address):
    with pytest.raises(ValueError, match=r"\*\*\*.*environment variables") as told:
        storage.open_address(address)
    assert "hunter2" not in str(told.value)
