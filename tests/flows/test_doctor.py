"""What `miex doctor` finds."""

import json
import re
import subprocess
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from outside_package import Install

from miex.flows import doctor
from miex.flows.doctor import (
    embedded_models,
    examine,
    located,
    opencv,
    packages,
    pyfeat_weights,
    telltales,
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


TELLTALES, _ = telltales()


def name_for(pattern: str) -> str:
    """Return a file name that a shell pattern matches."""
    return re.sub(r"\[(.)[^]]*\]", r"\1", pattern).replace("*", "")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        *(
            (f"there/{name_for(pattern)}", telltale.name)
            for telltale in TELLTALES
            for pattern in telltale.patterns
        ),
        ("celeba/Anno/identity_CelebA.txt", "CelebA"),
        ("weights/net_epoch_30_id_G.pth", "GANimation weights"),
        ("openface/AU_predictors/AU_all_static.txt", "OpenFace models"),
        ("casme2/CASME2-coding-20190701.xlsx", "CASME II"),
        ("SAMM_20181215_Micro_FACS_Codes_v2.xlsx", "SAMM"),
        ("smic/SMIC_all_raw/HS/s1", "SMIC-HS"),
        ("ck/cohn-kanade-images/S005/S005_001_00000011.png", "CK+"),
        ("oulu/PreProcess_Img/readme.txt", "Oulu-CASIA"),
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


def test_every_telltale_says_how_to_use_what_it_found() -> None:
    uses = {telltale.name: telltale.use for telltale in TELLTALES}
    assert uses["CASME II"] == "AUs of annotated clips: miex extract-aus casme2:FOLDER"
    assert uses["CelebA"] == "photographs: miex faces celeba:FOLDER"
    assert uses["OpenFace models"] == "AU estimation: -e openface-models:FOLDER"
    assert uses["GANimation weights"] == "rendering: --generator ganimation --checkpoint FILE"
    assert len(uses) == len(TELLTALES) > 17


def test_a_reader_of_another_package_is_found_and_a_broken_one_is_a_finding(
    tmp_path: Path, install: Install
) -> None:
    source = """
from miex.datasets.clips.base import register_clips
from miex.datasets.registry import Facts

@register_clips("theirs", Facts("their clips", found_by=("their_*.csv",)))
def open_theirs(spec, frames): ...
"""
    install("miex.readers", {"theirs": "open_theirs"}, source)
    package = install("miex.readers", {"broken": "open_theirs"}, "import no_such_module")
    place = tmp_path / "data"
    place.mkdir()
    (place / "their_clips.csv").touch()
    found = {finding.what: finding for finding in located([place])}
    assert found["theirs"].found == str(place / "their_clips.csv")
    assert found["theirs"].note == "AUs of annotated clips: miex extract-aus theirs:FOLDER"
    assert found["broken"].topic == "plug-in"
    assert package in found["broken"].note


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


def test_facts_are_read_without_importing_what_they_describe() -> None:
    code = (
        "import json, sys; from miex.flows.doctor import examine, telltales; examine();"
        "print(json.dumps([[each.name, each.patterns, each.use] for each in telltales()[0]]));"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    light, torch_was_loaded = done.stdout.splitlines()
    for names, facts_of, _ in doctor._KINDS:
        for name in names():
            facts_of(name)  # Imports it, so that `telltales` takes what it registered.
    whole = [[each.name, [*each.patterns], each.use] for each in telltales()[0]]
    assert json.loads(light) == whole
    assert torch_was_loaded == str(doctor._may_have_accelerator())
