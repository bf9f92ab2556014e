"""Imports point one way, and files stay small enough to read."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LINE = ("flows", "pipeline", "generators", "au_sources", "datasets")
"""A room imports from itself and from those behind it."""

PIPELINE = (
    "experiments",
    "sharing",
    "playground",
    "fictitious_databases",
    "inside",
    "assessment",
    "make_dataset",
    "reports",
    "recognition",
    "generator_training",
    "synthesis",
    "aus",
    "faces",
    "clusters",
    "workers",
)
"""Folders and modules of `pipeline`: each imports from itself and from those behind it.

`make_dataset` joins synthesis and reports; experiments call it for their datasets.
"""

MAX_FILE = 400
MAX_FUNCTION = 80
ROOT = Path(__file__).resolve().parents[1]
FILES = [
    path
    for room in LINE
    for path in sorted((ROOT / room).rglob("*.py"))
    if "__pycache__" not in path.parts
]
EVERYWHERE = [*FILES, *sorted((ROOT / "tests").rglob("*.py"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names of imported modules with their lines, also of imports inside functions."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            # `from miex import flows` names the room only in what is imported.
            bare = node.module in ("miex", "datasets")
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if bare else str(node.module), node.lineno


def test_there_is_something_to_look_at():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(LINE)


@pytest.mark.parametrize("room", LINE)
def test_imports_point_one_way(room):
    allowed = LINE[LINE.index(room) :]
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] == room
        for module, line in imports(path)
        if module.split(".")[0] == "miex" and module.split(".")[1] not in allowed
    ]
    assert wrong == []


def pipeline_part(module: str) -> str:
    """The folder or module of `pipeline` that a dotted name belongs to."""
    return module.split(".")[2]


def test_the_order_of_the_pipeline_is_complete():
    found = {
        path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py")
        for path in FILES
        if path.is_relative_to(ROOT / "pipeline")
    }
    assert found == set(PIPELINE)


@pytest.mark.parametrize("part", PIPELINE)
def test_the_pipeline_imports_one_way(part):
    allowed = PIPELINE[PIPELINE.index(part) :]
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in FILES
        if path.is_relative_to(ROOT / "pipeline")
        and path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py") == part
        for module, line in imports(path)
        if module.startswith("miex.pipeline.") and pipeline_part(module) not in allowed
    ]
    assert wrong == []


def test_no_module_is_looked_up_by_a_string():
    """A name in a string escapes every check of the direction of imports."""
    own = re.compile(rf"miex\.(?:{'|'.join(LINE)})\.\w+(?:\.\w+)*")
    known = {name_of(path).removesuffix(".py").replace("/", ".") for path in FILES}
    wrong = [
        f"{name_of(path)}:{node.lineno}: {node.value}"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and own.fullmatch(node.value)
        and node.value.removeprefix("miex.") in known
    ]
    assert wrong == []


def test_only_flows_import_prefect():
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] != "flows"
        for module, line in imports(path)
        if module.split(".")[0].startswith("prefect")
    ]
    assert wrong == []


def test_rooms_are_imported_by_their_full_name():
    own = {path.stem for path in (ROOT / "datasets").iterdir() if path.suffix == ".py"}
    own |= {path.name for path in (ROOT / "datasets").iterdir() if path.is_dir()}
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in EVERYWHERE
        for module, line in imports(path)
        if module.split(".")[0] in {*LINE} - {"datasets"}
        or (module.split(".")[0] == "datasets" and set(module.split(".")[1:2]) & own)
    ]
    assert wrong == []


def test_tests_mirror_the_folders() -> None:
    folders = {ROOT.joinpath(*path.relative_to(ROOT).parts[:-1][:2]) for path in FILES}
    missing = [
        name_of(folder) for folder in folders if not (ROOT / "tests" / name_of(folder)).is_dir()
    ]
    assert missing == []


def test_files_are_short():
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in EVERYWHERE}
    assert {name: n for name, n in lengths.items() if n > MAX_FILE} == {}


def test_functions_are_short():
    long = {
        f"{name_of(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in EVERYWHERE
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION
    }
    assert long == {}


def test_no_file_is_a_drawer_for_everything():
    drawers = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}
    assert [name_of(path) for path in EVERYWHERE if path.name in drawers] == []
