"""What README.md and docs/*.md say: commands, flags, links, names, tables and the example.

Nothing is run here; commands are parsed as the shell would.
"""

import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import tables
import typer
import yaml

from miex.flows.cli import app
from miex.pipeline.recognition.protocols import PROTOCOLS
from miex.pipeline.recognition.recognizers.base import (
    recognizer_class,
    recognizer_places,
)
from miex.pipeline.recognition.results import Prediction, summarize
from miex.pipeline.recognition.sample import SampleInfo

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MIEX: Any = typer.main.get_command(app)
SPAN = re.compile(r"`([^`]+)`")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def shell_lines(path: Path) -> Iterator[list[str]]:
    """Commands of bash and of indented blocks, as words; a backslash joins lines."""
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text_of(path), flags=re.DOTALL))
    text = re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL)
    text = "\n".join([text, *(f"    {line}" for line in blocks.splitlines())])
    text = text.replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("    ") and line.strip():
            try:
                yield shlex.split(line, comments=True)
            except ValueError:  # Python, in which an apostrophe may stand alone
                continue


def commands(first: str) -> list[tuple[Path, list[str]]]:
    found = [(path, words) for path in PAGES for words in shell_lines(path)]
    return [(path, words) for path, words in found if words[:1] == [first]]


def is_group(command: Any) -> bool:
    """By its traits: typer may bring a click of its own."""
    return hasattr(command, "commands")


def leaf(words: list[str]) -> tuple[Any, list[str]]:
    """The command that some words name, and what is left of them."""
    command, rest = MIEX, list(words)
    while is_group(command) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no command {' '.join(words)!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def label(case: tuple[Path, list[str]]) -> str:
    path, words = case
    return f"{path.name}: {' '.join(words)}"[:90]


@pytest.mark.parametrize("case", commands("miex"), ids=label)
def test_every_command_and_flag_exists(case: tuple[Path, list[str]]) -> None:
    _, words = case
    # What stands behind a pipe, a redirection or another command is not ours.
    ends = [place for place, word in enumerate(words) if word in ("&", "&&", "|", ">")]
    command, rest = leaf(words[1 : ends[0] if ends else None])
    assert not is_group(command), f"{' '.join(words)} names no command"
    # Parses types, choices and what is required; runs nothing.
    command.make_context(command.name, rest)


def test_there_are_commands_to_check() -> None:
    used = {leaf(words[1:])[0].name for _, words in commands("miex")}
    assert {"synthesize", "fictitious", "pretrain", "finetune", "evaluate", "results"} <= used
    assert {"training-set", "train-generator", "assess-generator", "experiment"} <= used


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_and_flags_in_the_text_exist(path: Path) -> None:
    known = {
        option
        for command in walk(MIEX)
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    text = re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL)
    for span in SPAN.findall(text):
        words = span.split()
        if words[0] == "miex" and len(words) > 1 and not words[1].isupper():
            leaf(words[1:])
        elif words[0].startswith("--"):
            assert words[0] in known, f"`{span}`: no command has {words[0]}"


def walk(command: Any) -> Iterator[Any]:
    yield command
    if is_group(command):
        for inner in command.commands.values():
            yield from walk(inner)


@pytest.mark.parametrize("case", commands("python") + commands("torchrun"), ids=label)
def test_every_script_and_module_exists(case: tuple[Path, list[str]]) -> None:
    _, words = case
    if "-m" in words:
        assert importlib.util.find_spec(words[words.index("-m") + 1]) is not None
    for word in words[1:]:
        if word.endswith(".py"):
            assert (ROOT / word).is_file()
    if "miex" in words:
        command, rest = leaf(words[words.index("miex") + 1 :])
        command.make_context(command.name, rest)


def test_every_deployment_exists_and_takes_its_parameters() -> None:
    deployed = {}
    for each in yaml.safe_load(text_of(ROOT / "prefect.yaml"))["deployments"]:
        file, _, function = each["entrypoint"].partition(":")
        module = import_module(f"miex.{file.removesuffix('.py').replace('/', '.')}")
        found = getattr(module, function)
        deployed[f"{found.name}/{each['name']}"] = set(found.parameters.properties)
    used = set()
    for _, words in commands("prefect"):
        if words[1:3] == ["deployment", "run"]:
            used.add(words[3])
            given = [words[place + 1] for place, word in enumerate(words) if word == "-p"]
            for parameter in given:
                assert parameter.partition("=")[0] in deployed[words[3]], parameter
    assert {"synthesize-miex/local", "train-generator/local", "evaluate/local"} <= used


def headings(path: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(path)):
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), f"{path.name} links {target}"
        assert not anchor or anchor in headings(place), f"{path.name} links {target}"


def test_the_public_names_can_be_imported() -> None:
    rows = re.findall(r"^\| (`\w+`.*) \| (`miex\.[^|]+) \|$", text_of(ROOT / "README.md"), re.M)
    assert len(rows) > 15
    for names, places in rows:
        first, *others = SPAN.findall(places)
        modules = [
            first,
            *(
                other if other.startswith("miex.") else first.rpartition(".")[0] + other
                for other in others
            ),
        ]
        there = [import_module(module) for module in modules]
        for name in SPAN.findall(names):
            assert any(hasattr(module, name) for module in there), f"{name} is in none of {modules}"


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("path", tables.pages(), ids=lambda path: path.name)
def test_tables_say_what_the_classes_say(path: Path) -> None:
    """After a change of a class, `python tests/support/tables.py` writes them anew."""
    assert tables.rewritten(text_of(path)) == text_of(path)


def test_every_table_is_used() -> None:
    used = {name for path in PAGES for _, name, _ in tables.BLOCK.findall(text_of(path))}
    assert used == set(tables.TABLES)


def test_every_recognizer_of_miex_is_in_its_table() -> None:
    names = [line.split("`")[1] for line in tables.table("recognizers").splitlines()[2:]]
    assert names == tables.own(recognizer_places())
    assert {"branches", "lbp_top"} <= set(names)


def test_the_parameters_that_are_named_exist() -> None:
    page = text_of(ROOT / "docs" / "recognizers.md")
    checked = 0
    for name in tables.own(recognizer_places()):
        fields = recognizer_class(name).Config.model_fields
        switches = section(page, name).partition("Switches:")[2].partition("\n\n")[0]
        row = re.search(rf"^\| `{name}` \| [^|]+ \| (`[^|]+) \| [^|]+ \|$", page, re.MULTILINE)
        for span in SPAN.findall(switches or (row[1] if row else "")):
            word = re.split(r"[.=]", span)[0]
            value = any(f"'{word}'" in str(field.annotation) for field in fields.values())
            assert word in fields or value, f"{name} has no {span}"
            checked += 1
    assert checked > 50


def test_the_example_of_a_recognizer_is_the_file_that_is_tested() -> None:
    page = text_of(ROOT / "docs" / "recognizers.md")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert code == text_of(ROOT / "tests" / "plugins" / "flow_linear.py")


def test_every_protocol_is_in_the_table() -> None:
    table = section(text_of(ROOT / "docs" / "evaluation.md"), "Protocols")
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(SPAN.findall(" ".join(cells))) == sorted(PROTOCOLS)
    for line in table.splitlines():
        if line.startswith("| `"):
            names, _, classes, _, clips = (cell.strip() for cell in line.strip("|").split("|"))
            for name in SPAN.findall(names):
                assert int(classes[0]) == len(PROTOCOLS[name].space.classes)
                assert clips == str(PROTOCOLS[name].clips or "")


def test_everything_in_a_result_is_explained() -> None:
    people = [("a", "1"), ("a", "2")]
    infos = [
        SampleInfo(f"{d}:{s}/c", 0, "negative", d, s, frozenset({(d, s)}), "annotated")
        for d, s in people
    ]
    answers = [Prediction(0, i.key, i.key, 0, (1.0, 0.0), 0) for i in infos]
    found = summarize(infos, answers, ["negative", "positive"])
    page = text_of(ROOT / "docs" / "evaluation.md")
    for entry in [*found, *found["other"], *found["baselines"], *found["pooled"]["mean"]]:
        assert f"`{entry}`" in page, entry


def test_every_guard_names_a_test_that_exists() -> None:
    table = section(text_of(ROOT / "docs" / "evaluation.md"), "Fourteen pitfalls")
    rows = [line for line in table.splitlines() if re.match(r"\| \d+\. ", line)]
    assert [int(re.findall(r"\d+", row)[0]) for row in rows] == list(range(1, 15))
    for row in rows:
        cell = row.rstrip(" |").rpartition("|")[2]
        for group in cell.split(";"):
            file, _, names = group.strip().partition(": ")
            path = ROOT / (file if "/" in file else f"tests/pipeline/recognition/{file}")
            defined = {
                node.name
                for node in ast.walk(ast.parse(text_of(path.with_suffix(".py"))))
                if isinstance(node, ast.FunctionDef)
            }
            assert SPAN.findall(names), row
            assert set(SPAN.findall(names)) <= defined, f"{file}: {names}"
