from pathlib import Path

import pytest

from miex.datasets.registry import Registry, modules_in


def test_a_name_is_taken_once() -> None:
    registry = Registry("thing", dict)
    registry.register("mine")(lambda: 1)
    assert registry.find("mine")() == 1
    with pytest.raises(ValueError, match="thing 'mine' is registered twice"):
        registry.register("mine")(lambda: 2)


def test_an_unknown_name_lists_the_known_ones() -> None:
    registry = Registry("thing", lambda: {"b": "x.b", "a": "x.a"})
    assert registry.names() == ["a", "b"]
    with pytest.raises(ValueError, match="no thing is called 'c'; there are: a, b"):
        registry.find("c")


def test_machinery_is_no_plug_in(tmp_path: Path) -> None:
    for name in ("base.py", "_private.py", "casme2.py", "notes.txt"):
        (tmp_path / name).touch()
    assert modules_in("miex.x", tmp_path) == {"casme2": "miex.x.casme2"}
