"""A training that stops, goes on, fails for a reason, and in the end has learnt something."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from miex.datasets.base import Face
from miex.datasets.processes import Processes
from miex.generators.ganimation import training
from miex.generators.ganimation.adversaries import Adversaries, Precision
from miex.generators.ganimation.checkpoint import load_checkpoint
from miex.generators.ganimation.monitor import (
    Monitor,
    TrainingFailedError,
    Validation,
    Watch,
    constant_aus,
)
from miex.generators.ganimation.recipe import Recipe, choose_recipe
from miex.generators.ganimation.run_state import load_state
from miex.generators.ganimation.training import train
from miex.generators.ganimation.training_config import TrainingConfig
from miex.generators.ganimation.training_set import TrainingSet

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = Processes(0, 1, CPU)
TINY = {"width": 4, "critic_width": 4, "batch": 4}
PLAIN = TINY | {"weights.teacher": 0, "weights.au_pairs": 0}


def _config(data: Path, recipe: Recipe, steps: int = 8, **other: object) -> TrainingConfig:
    fields = {"log_every": 2, "validate_every": 4, "save_every": 4, "device": "cpu"} | other
    return TrainingConfig(data=data, recipe=recipe, steps=steps, **fields)


def _lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["miex", "pumarola", "donydchen"])
def test_resumes_to_the_bit(name: str, small_set: Path, tmp_path: Path) -> None:
    recipe = choose_recipe(name, (PLAIN if name == "miex" else TINY) | {"critic_steps": 3})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(_config(small_set, recipe), whole)

    first = train(_config(small_set, recipe, minutes=1e-9), parts)
    assert (first.step, first.total) == (2, 8)
    # As if killed after step 7: lines of steps that the last state does not hold.
    with (parts / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "critic": 9.0}\n{"step": 8, "cri')
    second = train(_config(small_set, recipe), parts)
    assert second.step == 8

    state = "state-00000008.safetensors"
    assert (whole / state).read_bytes() == (parts / state).read_bytes()
    assert (whole / "generator.safetensors").stat().st_size
    one, other = ([line for line in _lines(out) if "critic" in line] for out in (whole, parts))
    assert one == other
    assert len(list(parts.glob("state-*"))) == 2


def test_leaves_everything_that_a_run_needs(small_set: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    recipe = choose_recipe("miex", PLAIN)
    config = _config(small_set, recipe)
    result = train(
        config, tmp_path, lambda stage, done, total, _: seen.append((stage, done, total))
    )
    assert seen[0] == ("faces", 12, 12)
    assert seen[-1] == ("steps", 8, 8)
    assert np.isfinite([result.au_error, result.au_error_constant]).all()
    lines = _lines(tmp_path)
    losses = {name for line in lines for name in line}
    assert {"critic_aus", "cycle", "attention_leak", "r1", "validation_motion"} <= losses
    grid = cv2.imread(str(tmp_path / "samples" / "00000008.png"))
    assert grid.shape == (6 * 32, (1 + 8 * 3 + 1) * 32, 3)
    about = json.loads((tmp_path / "training.json").read_text())
    assert about["condition"] == "change"
    assert about["data"]["sha256"] == TrainingSet.open(small_set).sha256
    assert "AU14" not in about["data"]["trusted_aus"]
    # Again: nothing is left to do, and the same comes out.
    before = result.weights.read_bytes()
    again = train(config, tmp_path)
    assert (again.step, again.total) == (8, 8)
    assert load_state(tmp_path, _run_of(small_set, recipe), {}, {}) == 8
    assert before == result.weights.read_bytes()


def _run_of(data: Path, recipe: Recipe) -> dict[str, object]:
    sha256 = TrainingSet.open(data).sha256
    return {"recipe": recipe.model_dump(), "seed": 0, "steps": 8, "data": sha256}


def test_exports_weights_that_the_generator_loads(small_set: Path, tmp_path: Path) -> None:
    recipe = choose_recipe("miex", PLAIN | {"batch": 2, "width": 64})
    result = train(_config(small_set, recipe, steps=1), tmp_path)
    loaded = load_checkpoint(result.weights)
    assert loaded.image_size == 32
    assert loaded.card["condition"] == "change"
    assert json.loads(loaded.card["recipe"])["weights"]["cycle"] == 10
    assert result.weights.stat().st_size < 17_100_000


def test_another_training_is_not_gone_on_with(small_set: Path, tmp_path: Path) -> None:
    train(_config(small_set, choose_recipe("miex", PLAIN), steps=2), tmp_path)
    other = choose_recipe("miex", PLAIN | {"weights.cycle": 3})
    with pytest.raises(ValueError, match=r"\(recipe\.weights\.cycle was 10\.0, is 3\.0\)"):
        train(_config(small_set, other, steps=2), tmp_path)
    state = next(tmp_path.glob("state-*"))
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{state.name} is damaged: its content"):
        train(_config(small_set, choose_recipe("miex", PLAIN), steps=2), tmp_path)


class _Broken(Adversaries):
    """Diverges at once."""

    def step(self, *arguments: object) -> dict[str, torch.Tensor]:
        found = super().step(*arguments)  # type: ignore[arg-type]
        return found | {"cycle": found["cycle"] * float("nan")}


def test_a_diverged_training_stops_with_the_reason(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "Adversaries", _Broken)
    with pytest.raises(TrainingFailedError, match="step 2: cycle is not finite: the training has"):
        train(_config(small_set, choose_recipe("miex", PLAIN)), tmp_path)
    # The line says so, and no state was kept that goes on with it.
    assert _lines(tmp_path)[-1]["cycle"] is None
    assert not list(tmp_path.glob("state-*"))


def test_a_saturated_attention_stops_the_training(small_set: Path, tmp_path: Path) -> None:
    data = TrainingSet.open(small_set)
    networks = Adversaries(choose_recipe("miex", PLAIN), 32, 0, Precision(CPU), ALONE)
    with torch.no_grad():
        # Rectified features times positive weights: a sigmoid far out, 1 nearly everywhere.
        networks.average.attention.weight.fill_(10)
    constant = constant_aus(data.faces("train"), data.trusted)
    watch = Watch(data.faces("validation"), data.trusted, constant, 0, networks)
    monitor = Monitor(tmp_path, 0)
    monitor.validated(1, watch.measure(), watch.grid())
    monitor.validated(2, watch.measure(), watch.grid())
    with pytest.raises(TrainingFailedError, match=r"step 3: the attention is saturated \(mean 1"):
        monitor.validated(3, watch.measure(), watch.grid())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"motion": 0.01}, "no face moves"), ({"score_spread": 0.0}, "the same of everything")],
)
def test_three_bad_validations_in_a_row_are_needed(
    fields: dict[str, float], reason: str, tmp_path: Path
) -> None:
    good = Validation(1.0, 1.0, 0.5, 2.0, 0.1, 0.5, 0.5)
    bad = Validation(**({n: getattr(good, n) for n in good.__slots__} | fields))
    monitor, grid = Monitor(tmp_path, 0), np.zeros((4, 4, 3), np.uint8)
    for step, found in enumerate((bad, bad, good, bad, bad)):
        monitor.validated(step, found, grid)
    with pytest.raises(TrainingFailedError, match=f"step 5: .*{reason}"):
        monitor.validated(5, bad, grid)


def test_wrong_input_is_named(small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="miex training-set"):
        train(_config(tmp_path / "none.parquet", choose_recipe("miex", PLAIN)), tmp_path)
    with pytest.raises(ValueError, match="faces of 64 to 512 pixels, not 32; set"):
        train(_config(small_set, choose_recipe("miex", TINY)), tmp_path)


def test_runs_from_a_checkout_on_a_bare_machine(
    small_set: Path, tmp_path: Path, root: Path
) -> None:
    link = tmp_path / "path" / "miex"
    link.parent.mkdir()
    link.symlink_to(root)
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('dlib', 'feat', 'prefect', 'typer', 'accelerate')))\n"
        f"sys.path.insert(0, {str(link.parent)!r})\n"
        "from pathlib import Path\n"
        "from miex.generators.ganimation.recipe import choose_recipe\n"
        "from miex.generators.ganimation.training import TrainingConfig, train\n"
        f"recipe = choose_recipe('miex', {PLAIN})\n"
        f"config = TrainingConfig(data={str(small_set)!r}, recipe=recipe, steps=1, device='cpu')\n"
        f"print(train(config, Path({str(tmp_path / 'run')!r})).step)\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1"


@pytest.mark.slow
def test_two_processes_share_a_batch(small_set: Path, tmp_path: Path, root: Path) -> None:
    link = tmp_path / "path" / "miex"
    link.parent.mkdir()
    link.symlink_to(root)
    program = tmp_path / "program.py"
    program.write_text(
        "from pathlib import Path\n"
        "from miex.generators.ganimation.recipe import choose_recipe\n"
        "from miex.generators.ganimation.training import TrainingConfig, train\n"
        f"recipe = choose_recipe('miex', {PLAIN})\n"
        f"config = TrainingConfig(data={str(small_set)!r}, recipe=recipe, steps=3, device='cpu')\n"
        f"print('error', train(config, Path({str(tmp_path / 'run')!r})).au_error)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command.append(str(program))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(link.parent)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Both processes have the same network after the same steps.
    errors = [line for line in done.stdout.splitlines() if line.startswith("error")]
    assert len(errors) == 2, done.stdout + done.stderr
    assert errors[0] == errors[1]
    about = json.loads((tmp_path / "run" / "training.json").read_text())
    assert (about["processes"], about["step"]) == (2, 3)


@pytest.mark.slow
def test_learns_from_nothing(
    tmp_path: Path, write_drawn_set: Callable[..., Path], face_of: Callable[..., Face]
) -> None:
    data = write_drawn_set(tmp_path / "training.parquet", face_of, 64, (160, 32, 48))
    recipe = choose_recipe("miex", {
        "width": 6, "critic_width": 16, "batch": 16, "average": 0.98,
        "learning_rate": 1e-3, "critic_learning_rate": 1e-3,
    })  # fmt: skip
    out = tmp_path / "run"
    config = TrainingConfig(
        data=data, recipe=recipe, steps=STEPS, device="cpu", validate_every=60,
        save_every=STEPS - 20,
    )  # fmt: skip
    result = train(config, out)
    losses = [line for line in _lines(out) if "cycle" in line]
    for name in ("critic_aus", "cycle", "teacher", "generator_total"):
        first, last = losses[0][name], np.mean([line[name] for line in losses[-3:]])
        assert last < 0.95 * first, f"{name}: {first:.4f} to {last:.4f}"
    assert result.au_error < 0.95 * result.au_error_constant
    validation = _lines(out)[-1]
    assert validation["validation_motion"] > 0.5
    assert validation["validation_attention"] < 0.98
    # Killed after the state before the last, the training ends with the same bytes.
    last = out / f"state-{STEPS:08d}.safetensors"
    expected = last.read_bytes()
    last.unlink()
    train(config, out)
    assert last.read_bytes() == expected


STEPS = 240
