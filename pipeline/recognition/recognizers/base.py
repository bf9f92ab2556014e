"""Define recognizers and find them by name.

A new one is one new file in this folder, or a class that another installed package names in its
entry points `miex.recognizers`:

    @register_recognizer("name")
    class Name(Recognizer): ...

The training loop never sees what a recognizer looks at: it moves tensors from the cache to the
device, lets the recognizer augment them, and takes a loss.
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
    """A size at which a recognizer learns 60 drawn faces of 64 px in seconds, for its tests.

    Attributes:
        config: Config fields that differ from the paper's.
        training: Hyperparameters that differ from the paper's.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


class RecognizerFacts:
    """Facts about a recognizer that commands, tests and the tables of the docs read.

    Write them as literals: `miex recognizers` reads them without importing torch.

    Attributes:
        name: The registered name.
        title: The name in tables of results.
        paper: Authors, title, venue and year.
        citation: The paper in a few words, `Liong et al., FG 2019`.
        year: Year of the paper.
        looks_at: The representation in a few words.
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
    Config: ClassVar[type[RecognizerConfig]]
    clip_frames: ClassVar[ClipFrames] = ClipFrames()
    takes_flow_images: ClassVar[bool] = False
    marks_clips: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}
    toy: ClassVar[ToySize] = ToySize()


class Recognizer(RecognizerFacts, nn.Module, ABC):
    """A network that tells expressions apart.

    Args:
        config: Its parameters.
        classes: Number of classes.

    Attributes:
        class_layers: Prefixes of the parameters whose shape or meaning depends on the classes: a
            checkpoint for other classes is loaded without them.
        config: Its parameters.
        classes: Number of classes.
        weights: What the parameters started from: ``random``, or the name of pretrained weights
            and where they came from. Always said in results.
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
        """What it looks at."""

    def augment(self, inputs: Inputs, generator: Generator) -> Inputs:
        """Changes the inputs of training at random, onset and apex of a sample alike.

        Args:
            inputs: As `representation` gives them, on the device.
            generator: Randomness, on the CPU, so that every device draws the same.

        Returns:
            Inputs of the same names, for `forward` and `loss`. Unchanged by default.
        """
        del generator
        return inputs

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tensor:
        """Scores the classes, deterministically in eval mode.

        Args:
            inputs: As `representation` or `augment` gives them.

        Returns:
            Logits ``(B, classes)``.
        """

    def loss(self, inputs: Inputs, labels: Tensor) -> dict[str, Tensor]:
        """The loss of training.

        Args:
            inputs: As `augment` gives them.
            labels: ``int64 (B,)``.

        Returns:
            Scalars by name; ``loss`` is minimised, the others are its terms and the ``accuracy``
            (see `batch_accuracy`), for the log.
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
    """A recognizer without gradients: a descriptor and a classifier that is fitted once.

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
        """What it looks at."""

    @abstractmethod
    def fit(
        self,
        inputs: Inputs,
        labels: Tensor,
        seed: int,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """Fits the classifier to all of the training samples at once.

        Args:
            inputs: Of every training sample, on the CPU.
            labels: ``int64 (N,)``; classes may be absent.
            seed: Of whatever is random in fitting.
            weights: ``(N,)`` how much each sample counts, 1 on the average; all alike without.
        """

    @abstractmethod
    def scores(self, inputs: Inputs) -> Tensor:
        """Scores the classes.

        Returns:
            ``float32 (B, classes)``, the largest one the answer; -inf for a class that training
            never saw.

        Raises:
            ValueError: It was not fitted.
        """

    @abstractmethod
    def state(self) -> dict[str, NDArray[np.float32]]:
        """Everything that was learnt, as arrays."""

    @abstractmethod
    def load_state(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Takes over what `state` returned."""


AnyRecognizer = Recognizer | FittedRecognizer

register_recognizer = RECOGNIZERS.register
"""Registers a recognizer's class under the name of its file."""


def recognizer_class(name: str) -> type[Recognizer] | type[FittedRecognizer]:
    """The class of a recognizer, for its paper and its config.

    Raises:
        ValueError: There is none of this name; the message lists those that there are.
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
    """Creates a recognizer with fresh parameters (seed them with `torch.manual_seed`).

    Args:
        name: Registered name.
        classes: Number of classes.
        config: Parameters that differ from the paper's.

    Raises:
        ValueError: No such recognizer, or a parameter that it does not know or take.
    """
    kind = recognizer_class(name)
    if not isinstance(config, RecognizerConfig):
        try:
            config = build(kind.Config, config)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return kind(config, classes)
