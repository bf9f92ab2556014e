"""Installed packages that add plug-ins to miex, written into a temporary folder."""

import importlib
import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Install = Callable[..., str]

_NUMBERS = itertools.count()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install(GROUP, {NAME: ATTRIBUTE}, SOURCE)`` installs a package; returns its module.

    The package is a module with the given source and a `.dist-info` that names its entry points,
    in a folder on `sys.path`: what an installer leaves behind. It is gone after the test.
    """
    modules: list[str] = []

    def write(group: str, points: Mapping[str, str], source: str) -> str:
        module = f"outside_{next(_NUMBERS)}"
        folder = tmp_path / module
        information = folder / f"{module}-1.0.dist-info"
        information.mkdir(parents=True)
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8"
        )
        lines = [f"{name} = {module}:{attribute}" for name, attribute in points.items()]
        (information / "entry_points.txt").write_text(
            "\n".join([f"[{group}]", *lines, ""]), encoding="utf-8"
        )
        monkeypatch.syspath_prepend(folder)
        importlib.invalidate_caches()
        modules.append(module)
        return module

    yield write
    for module in modules:
        sys.modules.pop(module, None)
