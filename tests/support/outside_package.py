"""Installed packages that add plug-ins to miex, written into a temporary folder."""

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

Install = Callable[[str, Mapping[str, str], str], str]

EXAMPLES = Path(__file__).resolve().parents[1] / "plugins"
"""A plug-in of each kind, one file each."""

EXAMPLE_POINTS = {
    "miex.recognizers": {"flow_linear": "flow_linear:FlowLinear"},
    "miex.readers": {"emotion_folders": "emotion_folders:open_emotion_folders"},
    "miex.face_readers": {"portraits": "portraits:open_portraits"},
    "miex.estimators": {"brightness": "brightness:create_brightness"},
    "miex.generators": {"blush": "blush:create_blush"},
    "miex.plots": {"identities": "identities:draw_identities"},
    "miex.tables": {"smile": "smile:smile"},
}
"""Their entry points by group."""

_NUMBERS = itertools.count()


def write_information(folder: Path, name: str, groups: Mapping[str, Mapping[str, str]]) -> None:
    """Write what an installer leaves beside a package: a `.dist-info` with its entry points."""
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8"
    )
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
    (information / "entry_points.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(GROUP, {NAME: ATTRIBUTE}, SOURCE)`` installs a package; returns its module.

    The package is one module with the given source, in a folder on `sys.path`. It is gone after
    the test.
    """
    modules: list[str] = []

    def write(group: str, points: Mapping[str, str], source: str) -> str:
        module = f"outside_{next(_NUMBERS)}"
        folder = tmp_path / module
        values = {name: f"{module}:{attribute}" for name, attribute in points.items()}
        write_information(folder, module, {group: values})
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        importlib.invalidate_caches()
        modules.append(module)
        return module

    yield write
    for module in modules:
        sys.modules.pop(module, None)
