"""A command, its flow and its function in Python take the same parameters."""

import inspect
from typing import Any

import pytest
import typer

from miex.datasets.flags import parameters
from miex.flows import api
from miex.flows.cli import app
from miex.flows.evaluate import evaluate
from miex.flows.extract_aus import extract_aus
from miex.flows.finetune import finetune
from miex.flows.pretrain import pretrain
from miex.flows.report import report
from miex.flows.synthesize_miex import synthesize_miex
from miex.flows.train_generator import train_generator

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]

FLOWS = {
    "extract-aus": extract_aus,
    "synthesize": synthesize_miex,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "report": report,
    "train-generator": train_generator,
}

ONLY_COMMAND = {"show_config"}
ONLY_FLOW = {"task_runner"}


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_takes_what_its_command_takes(name: str) -> None:
    options = {each.name for each in COMMANDS[name].params} - ONLY_COMMAND
    expected = {{"setting": "settings"}.get(option, option) for option in options}
    assert set(FLOWS[name].parameters.properties) - ONLY_FLOW == expected


@pytest.mark.parametrize("name", set(FLOWS) - {"report"})
def test_the_schema_of_a_flow_shows_types_defaults_and_descriptions(name: str) -> None:
    schema = FLOWS[name].parameters.properties
    flags = parameters(COMMANDS[name].model())
    assert {each.name for each in flags} < set(schema)
    for each in flags:
        shown = schema[each.name]
        types = [kind for kind in shown["anyOf"] if kind != {"type": "null"}]
        assert len(types) == 1
        assert shown["description"].startswith(each.description)
        if each.default not in (None, ()):
            assert "Default: " in shown["description"]
    assert schema["out"]["default"].startswith(("out/", "runs/", "aus"))


@pytest.mark.parametrize("name", FLOWS)
def test_the_function_has_the_defaults_of_the_command(name: str) -> None:
    own = {each.name: each.default for each in COMMANDS[name].params if each.name != "setting"}
    flags = {each.name for each in parameters(COMMANDS[name].model())} if name != "report" else {}
    for parameter in inspect.signature(getattr(api, name.replace("-", "_"))).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD or parameter.name in (*flags, "settings"):
            continue
        if parameter.name != "progress" and parameter.default is not parameter.empty:
            assert str(parameter.default) == str(own[parameter.name]), parameter


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"pool"}))
def test_the_help_of_every_command_shows_examples_and_describes_every_option(name: str) -> None:
    command = COMMANDS[name]
    assert command.epilog.startswith("Example")
    assert f"miex {name}" in command.epilog
    for each in command.params:
        assert each.help, f"{name}: {each.name}"


@pytest.mark.parametrize(
    ("name", "option", "choices"),
    [
        ("synthesize", "generator", ["warp", "ganimation", "auto"]),
        ("synthesize", "label_space", ["three_class", "casme2_5class"]),
        ("synthesize", "easing", ["linear|smooth|early|late"]),
        ("synthesize", "image_format", ["png|webp|jpeg"]),
        ("extract-aus", "estimator", ["landmarks", "openface-models", "facs"]),
        ("pretrain", "recognizer", ["ststnet", "branches"]),
        ("pretrain", "balance", ["none|classes"]),
        ("evaluate", "protocol", ["megc2019", "loso"]),
        ("evaluate", "selection", ["last|validation|oracle"]),
        ("experiment", "recognizers", ["ststnet"]),
    ],
)
def test_options_list_what_may_be_chosen(name: str, option: str, choices: list[str]) -> None:
    (found,) = (each for each in COMMANDS[name].params if each.name == option)
    for choice in choices:
        assert choice in f"{found.help} {found.metavar}"


def test_options_show_the_defaults_of_the_model() -> None:
    shown = {each.name: each.default for each in COMMANDS["synthesize"].params}
    assert (shown["frames"], shown["image_format"], shown["drift"]) == (2, "webp", False)
    assert shown["sources"] == ["expert:micro", "expert:miex", "expert:casme3"]
