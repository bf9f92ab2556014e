"""The command and the flow that train a generator; the training itself is tested elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from miex.flows import train_generator as module
from miex.flows.generator_commands import train_generator
from miex.flows.terminal import Terminal
from miex.generators.ganimation import training
from miex.generators.ganimation.training import TrainingConfig, TrainingResult

app = typer.Typer()
app.command()(train_generator)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TrainingConfig]:
    """The training replaced by its result; what it was asked for."""
    seen: list[TrainingConfig] = []

    def train(config: TrainingConfig, on_progress: Any = None) -> TrainingResult:
        seen.append(config)
        if on_progress is not None:
            on_progress("faces", 7, 7, {})
            on_progress("steps", 20, 40, {"critic": 1.98765, "cycle": 0.05})
        return TrainingResult(config.out / "generator.safetensors", 20, 40, 0.5, 0.75, 99.0)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(module, "train_network", train)
    return seen


def test_the_command_says_what_came_out(asked: list[TrainingConfig], tmp_path: Path) -> None:
    words = ["set.parquet", "-o", str(tmp_path), "--steps", "40", "--minutes", "9"]
    words += ["--recipe", "miex", "--set", "weights.cycle=5", "--set", "batch=32"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    (config,) = asked
    assert (config.data, config.steps, config.minutes) == (Path("set.parquet"), 40, 9)
    assert (config.recipe.weights.cycle, config.recipe.batch) == (5, 32)
    assert result.stdout.splitlines() == [
        f"weights: {tmp_path / 'generator.safetensors'} (step 20 of 40)",
        "AUs of validation identities: squared error 0.500, of their mean 0.750",
        "the time limit is reached; the same command resumes from here",
    ]


def test_a_wrong_recipe_is_refused_before_anything_is_read(asked: list[TrainingConfig]) -> None:
    for words, reason in (
        (["--recipe", "best"], "no recipe 'best'"),
        (["--set", "weight.cycle=5"], "no field 'weight.cycle'"),
    ):
        result = CliRunner().invoke(app, ["set.parquet", "-o", "out", *words])
        assert isinstance(result.exception, ValueError)
        assert reason in str(result.exception)
    assert not asked


def test_losses_stand_beside_the_pace() -> None:
    terminal = Terminal()
    with terminal.stages() as stages:
        meter = stages.of("steps", "steps")
        meter.note = "critic 1.99"
        meter.to(5, 10)
        assert "critic 1.99" in meter.parts()


def test_the_flow_publishes_the_last_samples(
    asked: list[TrainingConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, str] = {}

    def note(**given: str) -> None:
        shown[given["key"]] = given.get("markdown") or given["description"]

    monkeypatch.setattr(module, "create_markdown_artifact", note)
    monkeypatch.setattr(module, "create_image_artifact", note)
    monkeypatch.setattr(module, "preview", str)
    monkeypatch.setattr(module, "train", module.train.fn)
    for step in (20, 40):
        path = tmp_path / "samples" / f"{step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    flow: Callable[..., str] = module.train_generator.fn
    found = flow(tmp_path / "set.parquet", tmp_path, settings={"batch": 32})
    assert found == str(tmp_path / "generator.safetensors")
    assert asked[0].recipe.batch == 32
    assert "| Steps | 20 of 40 |" in shown["generator"]
    assert shown["generator-samples"].endswith("00000040.png")


def test_prefect_knows_the_parameters() -> None:
    schema = module.train_generator.parameters
    assert schema.required == ["data"]
    assert all(field.get("description") for field in schema.properties.values())
