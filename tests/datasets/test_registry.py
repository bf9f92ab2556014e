"""Plug-ins by name: files of miex and entry points of other packages."""

import sys
from pathlib import Path

import pytest
from outside_package import Install

from miex.datasets.registry import Registry, modules_in


def registry(modules: dict[str, str] | None = None) -> Registry:
    return Registry("thing", lambda: modules or {}, "miex.things")


def test_a_name_is_taken_once() -> None:
    things = registry()
    things.register("mine")(lambda: 1)
    assert things.find("mine")() == 1

    with pytest.raises(ValueError, match=r"thing 'mine' is registered twice, by .*test_registry"):
        things.register("mine")(lambda: 2)


def test_nobody_takes_the_name_of_a_file_that_is_not_imported_yet() -> None:
    things = registry({"a": "x.a"})
    with pytest.raises(ValueError, match=r"thing 'a' is registered twice, by x\.a and by"):
        things.register("a")(lambda: 1)


def test_an_unknown_name_lists_the_known_ones() -> None:
    things = registry({"b": "x.b", "a": "x.a"})
    assert things.names() == ["a", "b"]
    with pytest.raises(ValueError, match="no thing is called 'c'; there are: a, b"):
        things.find("c")


def test_a_file_that_registers_another_name_is_named() -> None:
    with pytest.raises(ValueError, match=r"json registers no thing .* its file, 'a'"):
        registry({"a": "json"}).find("a")


def test_machinery_is_no_plug_in(tmp_path: Path) -> None:
    for name in ("base.py", "_private.py", "casme2.py", "notes.txt"):
        (tmp_path / name).touch()
    assert modules_in("miex.x", tmp_path) == {"casme2": "miex.x.casme2"}


def test_another_package_adds_one(install: Install) -> None:
    package = install("miex.things", {"theirs": "make"}, "def make():\n    return 7\n")
    things = registry({"a": "x.a"})
    assert things.names() == ["a", "theirs"]
    assert things.places() == {"a": "x.a", "theirs": f"{package} ({package}:make)"}
    assert package not in sys.modules  # Listing imports nothing.
    assert things.find("theirs")() == 7


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("", "AttributeError"),
        ("make = 3\n", "is a int, expected a factory"),
        ("class make:\n    name = 'other'\n", "has the attribute name = 'other'"),
    ],
)
def test_a_broken_package_costs_itself_alone(install: Install, source: str, message: str) -> None:
    package = install("miex.things", {"broken": "make"}, source)
    install("miex.things", {"works": "make"}, "def make():\n    return 7\n")
    things = registry()
    assert things.names() == ["broken", "works"]
    assert things.find("works")() == 7
    with pytest.raises(ValueError, match=message) as raised:
        things.find("broken")
    assert f"entry point 'broken' of {package}" in str(raised.value)
    assert "'miex.things'" in str(raised.value)


def test_a_name_that_two_claim_names_both(install: Install) -> None:
    source = "def make():\n    return 7\n"
    one = install("miex.things", {"a": "make", "b": "make"}, source)
    two = install("miex.things", {"b": "make"}, source)
    things = registry({"a": "x.a"})
    with pytest.raises(ValueError, match=rf"'a' is claimed by miex \(x\.a\) and {one}"):
        things.find("a")
    with pytest.raises(ValueError, match=r"'b' is claimed by") as raised:
        things.find("b")
    assert one in str(raised.value)
    assert two in str(raised.value)
    assert things.names() == ["a", "b"]


def test_a_package_that_decorates_under_a_name_of_ours_changes_nothing(install: Install) -> None:
    things = registry({"a": "x.a"})
    sys.modules["their_things"] = type(sys)("their_things")
    try:
        sys.modules["their_things"].things = things
        source = "from their_things import things\n@things.register('a')\ndef make(): ...\n"
        install("miex.things", {"b": "make"}, source)
        with pytest.raises(ValueError, match="'a' is registered twice"):
            things.find("b")
        assert "a" not in things._factories
    finally:
        del sys.modules["their_things"]
