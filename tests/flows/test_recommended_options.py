"""The way out that a message names exists: options of commands, and of databases."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import typer

from miex.datasets.clips.base import clip_database_names, open_clips
from miex.datasets.faces.base import face_source_names, open_face_source
from miex.flows.cli import app

ROOT = Path(__file__).parents[2]
FOLDERS = ("datasets", "au_sources", "generators", "pipeline", "flows")

OTHER_PROGRAMS = {
    *("--body-background-fill", "--version"),  # a style sheet, and `miex` itself
    *("--force-reinstall", "--no-deps"),  # pip
    *("--watch", "--param"),  # prefect, and our flows' own parser
    "--cache-dir",  # hf download
}


def messages(path: Path) -> list[str]:
    """Return the texts of a module that are no docstrings; what is filled in as a blank."""
    tree = ast.parse(path.read_text("utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    inside = {id(p) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for p in n.values}
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else " " for p in node.values]
            texts.append("".join(map(str, parts)))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings | inside
        ):
            texts.append(node.value)
    return texts


MESSAGES = [
    (path.relative_to(ROOT).as_posix(), text)
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    for text in messages(path)
]


def options_of() -> dict[str, set[str]]:
    group = typer.main.get_command(app)
    found = {}
    for name, command in group.commands.items():
        nested = getattr(command, "commands", {})
        found[name] = {
            option
            for each in (command, *nested.values())
            for parameter in each.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
    return found


def test_every_option_that_a_message_names_is_one_of_a_command():
    commands = options_of()
    known = set().union(*commands.values()) | OTHER_PROGRAMS | {"--debug", "--help", "--version"}
    named = [
        (where, option)
        for where, text in MESSAGES
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![a-z-])", text)
    ]
    assert len(named) > 20
    assert [each for each in named if each[1] not in known] == []


def test_a_command_line_in_a_message_has_the_options_of_its_command():
    commands = options_of()
    wrong = []
    for where, text in MESSAGES:
        for command, rest in re.findall(r"`miex ([a-z][a-z-]*)([^`]*)`", text):
            options = re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![a-z-])", rest)
            if command not in commands:
                wrong.append((where, command))
            wrong += [(where, command, o) for o in options if o not in commands[command]]
    assert wrong == []


def module_of(path: Path) -> str:
    return ".".join(("miex", *path.relative_to(ROOT).with_suffix("").parts))


def imports_of(tree: ast.AST) -> set[str]:
    """Return the modules of miex that a tree imports, also inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("miex"):
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("miex")}
    return found


def reached_by() -> dict[str, set[str]]:
    """Return, by module, the commands whose functions import it, directly or through others."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    trees = {module_of(path): ast.parse(path.read_text("utf-8")) for path in paths}
    graph = {name: imports_of(tree) & trees.keys() for name, tree in trees.items()}
    # What a registry opens by its name is imported nowhere.
    registries = {name for name in trees if name.endswith(".registry")}
    found: dict[str, set[str]] = {name: set() for name in trees}
    for name, command in typer.main.get_command(app).commands.items():
        for each in (command, *getattr(command, "commands", {}).values()):
            function = inspect.unwrap(each.callback) if each.callback else None
            if function is None:
                continue
            waiting = imports_of_function(function.__name__, trees[function.__module__])
            found[function.__module__].add(name)
            while waiting := {one for one in waiting & trees.keys() if name not in found[one]}:
                for one in waiting:
                    found[one].add(name)
                waiting = set().union(*(graph[one] for one in waiting))
    everybody = set(typer.main.get_command(app).commands)
    return {
        module: names if names and module not in registries else everybody
        for module, names in found.items()
    }


def imports_of_function(name: str, tree: ast.Module) -> set[str]:
    """Return the imports of a function, of those of its module that it uses, and at the top."""
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    if name not in functions:
        return imports_of(tree)
    used, waiting = set(), {name}
    while waiting:
        used |= waiting
        names = (n.id for each in waiting for n in ast.walk(functions[each])
                 if isinstance(n, ast.Name))  # fmt: skip
        waiting = set(names) & functions.keys() - used
    top = ast.Module([node for node in tree.body if is_import(node)], [])
    return imports_of(top).union(*(imports_of(functions[each]) for each in used))


def is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def test_an_option_is_one_of_a_command_that_shows_the_message():
    commands, reached = options_of(), reached_by()
    assert reached["miex.pipeline.synthesis.render"] >= {"synthesize", "demo"}
    assert "faces-download" not in reached["miex.pipeline.recognition.training"]
    wrong = []
    for where, text in MESSAGES:
        # `miex doctor` lists what other commands can do.
        if where == "flows/doctor.py":
            continue
        here = reached[module_of(ROOT / where)]
        known = OTHER_PROGRAMS.union({"--debug", "--help"}, *(commands[name] for name in here))
        for part in re.split(r"(?=\bmiex [a-z])", text):
            named = re.match(r"miex ([a-z-]+)", part)
            own = known | commands.get(named[1], set()) if named else known
            options = re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![a-z-])", part)
            wrong += [(where, option, sorted(here)) for option in options if option not in own]
    assert wrong == []


@pytest.mark.parametrize("name", clip_database_names())
def test_the_options_that_a_database_recommends_are_its_own(name, tmp_path):
    pytest.importorskip("openpyxl")
    recommended: set[str] = set()
    for options in ("", "?casme2=x"):
        try:
            open_clips(f"{name}:{tmp_path}{options}").clips()
        except (FileNotFoundError, ValueError) as error:
            recommended |= set(re.findall(r"[?&](\w+)=[A-Z]", str(error)))
            recommended |= set(re.findall(r"with the option `(\w+)`", str(error)))
    for option in recommended:
        told = ""
        try:
            open_clips(f"{name}:{tmp_path}?{option}={tmp_path}").clips()
        except (OSError, ValueError) as error:
            told = str(error)
        assert "unknown option" not in told


@pytest.mark.parametrize("name", face_source_names())
def test_the_options_that_a_face_source_recommends_are_its_own(name, tmp_path):
    # A reader may also find an empty folder in order.
    told = ""
    try:
        open_face_source(f"{name}:{tmp_path}").photographs()
    except (FileNotFoundError, ValueError) as error:
        told = str(error)
    for option in re.findall(r"[?&](\w+)=[A-Z]", told):
        with pytest.raises((FileNotFoundError, ValueError)) as again:
            open_face_source(f"{name}:{tmp_path}?{option}={tmp_path}")
        assert "unknown option" not in str(again.value)


@pytest.mark.parametrize("name", ["clip_table", "video_folder"])
def test_a_table_of_another_name_is_given_as_the_message_says(name, tmp_path):
    header = "path,subject,clip,emotion,onset,offset"
    (tmp_path / "mine.csv").write_text(f"{header}\n.,p1,c,sad,1,2\n")
    with pytest.raises(FileNotFoundError, match=rf"write {name}:{tmp_path}/NAME"):
        open_clips(f"{name}:{tmp_path}")
    with pytest.raises(ValueError, match=r"mine.csv, row 2"):
        open_clips(f"{name}:{tmp_path / 'mine.csv'}").clips()
