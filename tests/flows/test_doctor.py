"""What `miex doctor` finds."""

from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from miex.datasets.clips.base import clip_database_names
from miex.flows import doctor
from miex.flows.doctor import (
    TELLTALES,
    embedded_models,
    examine,
    located,
    opencv,
    packages,
    pyfeat_weights,
)


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
        ("openface/AU_predictors/AU_all_static.txt", "OpenFace models"),
        ("face_landmarker.task", "MediaPipe model"),
        ("casme2/CASME2-coding-20190701.xlsx", "CASME II"),
        ("annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", "CAS(ME)^3"),
        ("SAMM_20181215_Micro_FACS_Codes_v2.xlsx", "SAMM"),
        ("smic/SMIC_all_raw/HS/s1", "SMIC-HS"),
        ("MMEW_Final/MMEW_Micro_Exp.xlsx", "MMEW"),
        ("4dme/4DME_Labelling_Micro_release v1.xlsx", "4DME"),
        ("combined_3class_gt.csv", "MEGC2019"),
        ("ck/cohn-kanade-images/S005/S005_001_00000011.png", "CK+"),
        ("oulu/PreProcess_Img/readme.txt", "Oulu-CASIA"),
        ("mine/clips.csv", "videos of your own"),
    ],
)
def test_data_is_found_by_its_telltale_file(tmp_path: Path, file: str, name: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    found = {finding.what: finding.found for finding in located([tmp_path])}
    where = found.pop(name)
    assert where is not None
    assert path == Path(where) or Path(where) in path.parents
    assert not any(found.values())


def test_every_clip_reader_has_a_telltale_that_names_it() -> None:
    uses = " ".join(telltale.use for telltale in TELLTALES)
    # The samples are installed; the macro-expressions of MMEW lie beside its sheet.
    for reader in set(clip_database_names()) - {"samples", "mmew_macro"}:
        assert f"miex extract-aus {reader}:FOLDER" in uses


def test_two_opencvs_in_one_folder_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor._version
    note = opencv().note
    assert "overwrite each other" not in note
    monkeypatch.setattr(
        doctor, "_version", lambda name: "5.0" if name == "opencv-contrib-python" else version(name)
    )
    finding = opencv()
    assert finding.found is not None
    assert finding.found.startswith(metadata.version("opencv-contrib-python-headless"))
    assert "pip uninstall opencv-contrib-python, then" in finding.note


def test_py_feats_weights_are_looked_for_where_it_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModuleSpec("feat", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    home = tmp_path / "resources"
    (home / "models--py-feat--xgb_au" / "snapshots" / "a1").mkdir(parents=True)
    assert pyfeat_weights().found is None
    (home / "models--py-feat--xgb_au" / "snapshots" / "a1" / "xgb_au_classifier.skops").touch()
    assert pyfeat_weights().found == "py-feat/xgb_au"


def test_a_missing_model_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert [finding.found for finding in embedded_models()] == [None] * 3
    assert all(finding.needed for finding in embedded_models())


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
