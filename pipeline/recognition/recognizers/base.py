"""Define recognizers and find them by name.

A new recognizer is one new file in this folder, or a class that another installed package names in
its entry points `miex.recognizers`:

    @register_recognizer("name")
    class Name(Recognizer): ...

The training loop does not depend on the input of a recognizer: it moves tensors from the cache to
the device, lets the recognizer augment them, and minimises its loss.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from miex.datasets.config import build
from miex.pipeline.recognition.recognizer_config import RECOGNIZERS
from miex.pipeline.recognition.recognizer_config import Hyperparameters as Hyperparameters
from miex.pipeline.recognition.recognizer_config import RecognizerConfig as RecognizerConfig
from miex.pipeline.recognition.recognizer_config import recognizer_names as recognizer_names
from miex.pipeline.recognition.recognizer_config import recognizer_places as recognizer_places
from miex.pipeline.recognition.representations.base import Inputs, Representation
from miex.pipeline.recognition.sample import ClipFrames

IS_CLIP = "is_clip"
"""Input of `Recognizer.augment`, ``bool (B,)``: true for real clips, false for synthesized samples.
Only recognizers that set `RecognizerFacts.marks_clips` get it."""


@dataclass(frozen=True)
class ToySize:
    """Size at which a recognizer learns 60 drawn faces of 64 px in seconds, for tests.

    Attributes:
        config: Config fields that differ from the paper's.
        training: Hyperparameters that differ from the paper's.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


class RecognizerFacts:
    """Facts about a recognizer for commands, tests and the tables of the docs.

    Write them as literals, since `miex recognizers` reads them without importing PyTorch.

    Attributes:
        name: The registered name.
        title: The name in tables of results.
        paper: Authors, title, venue and year.
        citation: The paper in a few words, `Liong et al., FG 2019`.
        year: Year of the paper.
        looks_at: The representation in a few words.
        from_random_weights: What to expect if it starts from random weights, where that differs
            much from pretrained ones; empty otherwise.
        Config: The class of its config.
        clip_frames: Frames of a real clip that it needs.
        takes_flow_images: Whether it looks at whole-face flow, and so at clips that are published
            as that; its config then has the field `form`.
        marks_clips: Whether `augment` is told which samples are real clips, by an input `IS_CLIP`.
        presets: Config fields by the name of a preset; ``paper`` is the config's own defaults.
        toy: Size at which tests train it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    citation: ClassVar[str]
    year: ClassVar[int]
    looks_at: ClassVar[str]
    from_random_weights: ClassVar[str] = ""
    Config: ClassVar[type[RecognizerConfig]]
    clip_frames: ClassVar[ClipFrames] = ClipFrames()
    takes_flow_images: ClassVar[bool] = False
    marks_clips: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}
    toy: ClassVar[ToySize] = ToySize()


class Recognizer(RecognizerFacts, nn.Module, ABC):
    """Network that classifies expressions.

    Args:
        config: Its parameters.
        classes: Number of classes.

    Attributes:
        class_layers: Prefixes of the parameters whose shape or meaning depends on the classes: a
            checkpoint for other classes is loaded without them.
        config: Its parameters.
        classes: Number of classes.
        weights: Initial weights: ``random``, or name and origin of pretrained weights; recorded in
            results.
    """

    class_layers: ClassVar[tuple[str, ...]]
    weights: str = "random"

    def __init__(self, config: RecognizerConfig, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"{type(self).name}: {classes} class; there must be at least two")
        self.config = config
        self.classes = classes

    @property
    @abstractmethod
    def representation(self) -> Representation:
        """Representation that is its input."""

    def augment(self, inputs: Inputs, generator: Generator) -> Inputs:
        """Augment training inputs, in the same way for onset and apex of a sample.

        Args:
            inputs: Inputs from `representation`, on the device.
            generator: Random generator on the CPU, so that draws do not depend on the device.

        Returns:
            Inputs of the same names, for `forward` and `loss`. Unchanged by default.
        """
        del generator
        return inputs

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tensor:
        """Compute the scores of the classes, deterministically in eval mode.

        Args:
            inputs: Inputs from `representation` or `augment`.

        Returns:
            Logits ``(B, classes)``.
        """

    def loss(self, inputs: Inputs, labels: Tensor) -> dict[str, Tensor]:
        """Compute the training loss.

        Args:
            inputs: Inputs from `augment`.
            labels: ``int64 (B,)``.

        Returns:
            Scalars by name: ``loss``, which is minimised, and for the log its terms and the
            ``accuracy`` (see `batch_accuracy`).
        """
        logits = self(inputs)
        return {
            "loss": functional.cross_entropy(logits, labels),
            "accuracy": batch_accuracy(logits, labels),
        }


def batch_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of a batch that is classified correctly, 0-1, without gradient.

    Args:
        logits: ``(B, classes)``.
        labels: ``int64 (B,)``.
    """
    return (logits.detach().argmax(-1) == labels).float().mean()


class FittedRecognizer(RecognizerFacts, ABC):
    """Recognizer without gradients: a descriptor and a classifier that is fitted once.

    The attributes are those of `Recognizer`.
    """

    weights: str = "none: fitted"

    def __init__(self, config: RecognizerConfig, classes: int) -> None:
        if classes < 2:
            raise ValueError(f"{type(self).name}: {classes} class; there must be at least two")
        self.config = config
        self.classes = classes

    @property
    @abstractmethod
    def representation(self) -> Representation:
        """Representation that is its input."""

    @abstractmethod
    def fit(
        self,
        inputs: Inputs,
        labels: Tensor,
        seed: int,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """Fit the classifier to all training samples.

        Args:
            inputs: Inputs of all training samples, on the CPU.
            labels: ``int64 (N,)``; classes may be missing.
            seed: Seed of the fit.
            weights: ``(N,)`` weights of the samples with mean 1; equal by default.
        """

    @abstractmethod
    def scores(self, inputs: Inputs) -> Tensor:
        """Compute the scores of the classes.

        Returns:
            ``float32 (B, classes)``; the largest score is the prediction; -inf for a class without
            training samples.

        Raises:
            ValueError: The recognizer was not fitted.
        """

    @abstractmethod
    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return all fitted parameters as arrays."""

    @abstractmethod
    def load_state(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Restore the parameters that `state` returned."""


AnyRecognizer = Recognizer | FittedRecognizer

register_recognizer = RECOGNIZERS.register
"""Register the class of a recognizer under the name of its file."""


def recognizer_class(name: str) -> type[Recognizer] | type[FittedRecognizer]:
    """Return the class of a recognizer, with its facts and its config.

    Raises:
        ValueError: There is no such recognizer; the message lists all.
    """
    found = RECOGNIZERS.find(name)
    if not (isinstance(found, type) and issubclass(found, (Recognizer, FittedRecognizer))):
        raise ValueError(
            f"recognizer {name!r} is {found!r}, expected a subclass of Recognizer or"
            " FittedRecognizer; correct the decorator or the entry point that registers it"
        )
    return found


def with_preset(name: str, preset: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a preset, and over them those that differ from it.

    Args:
        name: Registered name of the recognizer.
        preset: Key of `RecognizerFacts.presets`.
        config: Parameters that differ; of a group of fields (``training``) those that are given.

    Raises:
        ValueError: The recognizer has no such preset; the message lists those that it has.
    """
    presets = recognizer_class(name).presets
    if preset not in presets:
        raise ValueError(f"{name} has no preset {preset!r}; it has: {', '.join(presets)}")
    result = dict(presets[preset])
    for key, value in config.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = {**result[key], **value} if both else value
    return result


def create_recognizer(
    name: str, classes: int, config: Mapping[str, Any] | RecognizerConfig | None = None
) -> AnyRecognizer:
    """Create a recognizer with initial parameters (seed them with `torch.manual_seed`).

    Args:
        name: Registered name.
        classes: Number of classes.
        config: Parameters that differ from the paper's.

    Raises:
        ValueError: There is no such recognizer or parameter, or a value does not fit.
    """
    kind = recognizer_class(name)
    if not isinstance(config, RecognizerConfig):
        try:
            config = build(kind.Config, config)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return kind(config, classes)
