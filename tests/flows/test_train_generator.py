"""The command and the flow that train a generator; the training itself is tested elsewhere."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from miex.flows import train_generator as module
from miex.flows.cli import app
from miex.flows.terminal import Terminal
from miex.generators.ganimation import training
from miex.generators.ganimation.recipe import RECIPES
from miex.generators.ganimation.training import TrainingResult
from miex.generators.ganimation.training_config import TrainingConfig


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TrainingConfig]:
    """The configs of trainings, which are replaced by their results."""
    seen: list[TrainingConfig] = []

    def train(config: TrainingConfig, out: Path, on_progress: Any = None) -> TrainingResult:
        seen.append(config)
        if on_progress is not None:
            on_progress("faces", 7, 7, {})
            on_progress("warps", 7, 7, {})
            on_progress("reader", 500, 500, {"error": 0.5})
            on_progress("steps", 20, 40, {"critic": 1.98765, "cycle": 0.05})
        return TrainingResult(out / "generator.safetensors", 20, 40, 0.5, 0.75, 99.0)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(module, "train_network", train)
    return seen


def test_the_command_says_what_came_out(asked: list[TrainingConfig], tmp_path: Path) -> None:
    words = ["set.parquet", "-o", str(tmp_path), "--steps", "40", "--minutes", "9"]
    words += ["--recipe", "miex", "--set", "weights.cycle=5", "--set", "batch=32"]
    result = CliRunner().invoke(app, ["train-generator", *words])
    assert result.exit_code == 0, result.output
    (config,) = asked
    assert (config.data, config.steps, config.minutes) == (Path("set.parquet"), 40, 9)
    assert (config.recipe.weights.cycle, config.recipe.batch) == (5, 32)
    assert config.recipe.name == "miex, changed"
    assert config.recipe.weights.teacher == RECIPES["miex"].weights.teacher
    assert result.stdout.splitlines() == [
        f"weights: {tmp_path / 'generator.safetensors'} (step 20 of 40)",
        "AUs of held-out identities: squared error 0.500, of the mean AUs 0.750",
        "the time limit is reached; the same command resumes from here",
    ]


@pytest.mark.parametrize(
    ("words", "batch", "aus"),
    [
        ((), RECIPES["guided"].batch, RECIPES["guided"].weights.aus),
        (("--set", "batch=4"), 4, RECIPES["guided"].weights.aus),
        (("--recipe", "pumarola", "--set", "batch=50"), 50, 80),
        (("--recipe", "pumarola", "--set", "batch=50", "--set", "weights.aus=7"), 50, 7),
        (("--recipe", "donydchen", "--set", "recipe.weights.aus=9"), 25, 9),
    ],
)
def test_changes_are_made_to_the_chosen_recipe(
    asked: list[TrainingConfig], words: tuple[str, ...], batch: int, aus: float
) -> None:
    result = CliRunner().invoke(app, ["train-generator", "set.parquet", "-o", "out", *words])
    assert result.exit_code == 0, result.output
    assert (asked[0].recipe.batch, asked[0].recipe.weights.aus) == (batch, aus)


def test_a_config_file_names_or_describes_the_recipe(
    asked: list[TrainingConfig], tmp_path: Path
) -> None:
    path = tmp_path / "training.yaml"
    for text in ("recipe: miex\nbatch: 8\n", "recipe: {name: miex, batch: 8}\n"):
        path.write_text(f"data: set.parquet\n{text}")
        result = CliRunner().invoke(app, ["train-generator", "-o", "out", "-c", str(path)])
        assert result.exit_code == 0, result.output
        assert asked[-1].recipe == RECIPES["miex"].model_copy(
            update={"batch": 8, "name": "miex, changed"}
        )


def test_a_wrong_recipe_is_refused_before_anything_is_read(asked: list[TrainingConfig]) -> None:
    for words, reason in (
        (["--recipe", "best"], "recipe: no recipe 'best'; there are pumarola"),
        (["--set", "weight.cycle=5"], "weight.cycle: there is no such field"),
        (["--set", "weights.circle=5"], "circle: there is no such field; there are: adversary"),
    ):
        result = CliRunner().invoke(app, ["train-generator", "set.parquet", "-o", "out", *words])
        assert result.exit_code == 2
        assert reason in " ".join(result.output.split())
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
    flow: Any = module.train_generator.fn
    found = flow(data="set.parquet", out=tmp_path, settings={"batch": 32})
    assert found == str(tmp_path / "generator.safetensors")
    assert asked[0].recipe.batch == 32
    assert "| Steps | 20 of 40 |" in shown["generator"]
    assert shown["generator-samples"].endswith("00000040.png")
