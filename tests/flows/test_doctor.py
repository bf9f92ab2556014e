"""What `miex doctor` finds."""

from importlib import metadata
from pathlib import Path

import pytest

from miex.flows import doctor
from miex.flows.doctor import embedded_models, examine, located, packages


def test_packages_have_versions_and_absent_ones_say_what_they_add(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_OPTIONAL_PACKAGES", {"no-such-package-anywhere": "adds magic"})
    found = {finding.what: finding for finding in packages()}
    assert found["numpy"].found == metadata.version("numpy")
    assert found["numpy"].needed
    assert found["no-such-package-anywhere"].found is None
    assert found["no-such-package-anywhere"].note == "adds magic"
    assert not found["no-such-package-anywhere"].needed


def test_the_embedded_models_are_there() -> None:
    assert all(finding.found for finding in embedded_models())


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("celeba/Anno/identity_CelebA.txt", "CelebA"),
        ("weights/net_epoch_30_id_G.pth", "GANimation weights"),
        ("weights/30_net_gen.pth", "GANimation weights"),
        ("ganimation.safetensors", "GANimation weights"),
        ("out/faces.parquet", "face tables"),
    ],
)
def test_data_is_found_by_its_telltale_file(tmp_path: Path, file: str, name: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    found = {finding.what: finding.found for finding in located([tmp_path])}
    assert found.pop(name) == str(path)
    assert not any(found.values())


def test_it_looks_neither_too_deep_nor_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "a/b/c/d/identity_CelebA.txt"
    deep.parent.mkdir(parents=True)
    deep.touch()
    assert not any(finding.found for finding in located([tmp_path]))
    (tmp_path / "aaa").touch()
    (tmp_path / "identity_CelebA.txt").touch()
    monkeypatch.setattr(doctor, "_MOST_ENTRIES", 1)
    assert not any(finding.found for finding in located([tmp_path]))


def test_folders_come_from_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "identity_CelebA.txt").touch()
    monkeypatch.setenv("MIEX_DATA", str(tmp_path))
    found = {finding.what: finding.found for finding in examine()}
    assert found["CelebA"] == str(tmp_path / "identity_CelebA.txt")
    assert {"python", "cores", "memory", "accelerator"} <= found.keys()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        examine([tmp_path / "nowhere"])
