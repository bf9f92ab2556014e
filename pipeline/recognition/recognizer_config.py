"""Configure recognizers, and list those of miex; importing this needs no torch."""

import ast
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from miex.datasets.config import FrozenConfig, explain
from miex.datasets.flags import Flag
from miex.datasets.registry import Registry, modules_in


def _modules() -> dict[str, str]:
    return modules_in(
        "miex.pipeline.recognition.recognizers", Path(__file__).parent / "recognizers"
    )


RECOGNIZERS = Registry[Callable[[Any, int], Any]]("recognizer", _modules, "miex.recognizers")
"""Recognizers by name; a class is imported, and PyTorch with it, when it is first used."""

recognizer_names = RECOGNIZERS.names
"""Return the names of all recognizers, of miex and of installed packages, sorted."""

recognizer_places = RECOGNIZERS.places
"""Return the module or package of each recognizer, see `Registry.places`."""


def recognizer_facts(name: str) -> dict[str, Any]:
    """Return the literals of a recognizer's class, `paper` and `year` among them.

    They are read from its source, because importing it would load torch.

    Raises:
        ValueError: There is no such recognizer.
    """
    module = _modules().get(name)
    if module is None:  # From another package, whose class may be in any module.
        found = RECOGNIZERS.find(name)
        return {key: value for key, value in vars(found).items() if not key.startswith("_")}
    path = Path(__file__).parent / "recognizers" / f"{name}.py"
    facts: dict[str, Any] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.decorator_list:
            facts |= _literals(node)
    return facts


def _literals(node: ast.ClassDef) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in node.body:
        targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
        with contextlib.suppress(ValueError, AttributeError):
            value = ast.literal_eval(each.value)  # type: ignore[attr-defined]
            found |= {target.id: value for target in targets if isinstance(target, ast.Name)}
    return found


class Hyperparameters(FrozenConfig):
    """Hyperparameters of training; the defaults of each recognizer are those of its paper."""

    optimizer: Literal["adam", "adamw", "adamp", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum, only of sgd")
    weight_decay: float = Field(0.0, ge=0)
    epochs: Annotated[int, Flag(description="epochs; the paper's by default")] = Field(60, ge=1)
    batch_size: Annotated[int, Flag(description="batch size; the paper's by default")] = Field(
        32, ge=1
    )
    schedule: Literal["constant", "cosine", "step", "linear_second_half"] = "constant"
    step_epochs: int = Field(10, ge=1, description="epochs between two steps, only of step")
    step_factor: float = Field(0.5, gt=0, le=1, description="factor of each step, only of step")
    constant_share: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="of linear_second_half: share of the epochs before the rate falls",
    )
    gradient_clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    gradient_clip_of: Literal["whole", "each_network"] = Field(
        "whole",
        description="of gradient_clip: the norm of all parameters together, or of each network that"
        " the recognizer consists of",
    )
    max_steps: int | None = Field(
        None, ge=1, description="largest number of steps; the epochs' steps without"
    )

    def steps(self, epoch_steps: int) -> int:
        """Return the number of steps of the whole training.

        Args:
            epoch_steps: Number of steps in an epoch.
        """
        steps = self.epochs * epoch_steps
        return steps if self.max_steps is None else min(steps, self.max_steps)


TrainingStage = Literal["training", "pretraining", "alone", "fine_tuning"]
"""From scratch on clips; on synthesized samples before fine-tuning; on synthesized samples, without
fine-tuning; and on clips after pretraining."""

Preset = Literal["paper", "code"]
"""Whose hyperparameters: those that a paper states, or those of its released code."""

PRESET = "whose training: as the paper states it, or as its released code does (MiE-X)"
"""Description of a field of this kind."""


class RecognizerConfig(FrozenConfig):
    """Parameters of a recognizer; each subclass adds its own and the paper's training."""

    training: Hyperparameters = Hyperparameters()
    fine_tuning: Hyperparameters | None = Field(
        None, description="hyperparameters for a pretrained recognizer, if they differ"
    )
    pre_training: Hyperparameters | None = Field(
        None, description="training on samples to pretrain on, where it differs"
    )
    alone: Hyperparameters | None = Field(
        None, description="training on samples to pretrain on without fine-tuning, where it differs"
    )

    def hyperparameters(
        self, changes: Mapping[str, Any], stage: TrainingStage = "training"
    ) -> Hyperparameters:
        """Return the hyperparameters of a training with some changes.

        Args:
            changes: By field of `Hyperparameters`. A number of epochs that is given replaces the
                largest number of steps.
            stage: Which training.

        Raises:
            ValueError: A field that does not exist, or a value that does not fit.
        """
        differs = {
            "training": None,
            "fine_tuning": self.fine_tuning,
            "pretraining": self.pre_training,
            "alone": self.alone or self.pre_training,
        }
        own = (differs[stage] or self.training).model_dump()
        if "epochs" in changes:
            own["max_steps"] = None
        try:
            return Hyperparameters.model_validate(own | dict(changes))
        except ValidationError as error:
            raise ValueError(f"hyperparameters: {explain(error)}") from None
