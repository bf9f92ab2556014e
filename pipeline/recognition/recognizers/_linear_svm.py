"""Linear support vector machine on a descriptor, for the hand-crafted baselines."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.svm import LinearSVC
from torch import Tensor

from miex.pipeline.recognition.recognizers.base import FittedRecognizer, RecognizerConfig
from miex.pipeline.recognition.representations.base import Inputs

_ITERATIONS = 10_000


class LinearSvmConfig(RecognizerConfig):
    """Parameters of the classifier; `training` is not used, since there are no epochs."""

    c: float = Field(1.0, gt=0, description="weight of the errors in training")
    balanced: bool = Field(False, description="weigh classes by the inverse of their frequency")


class LinearSvmRecognizer(FittedRecognizer):
    """One-vs-rest linear support vector machines on standardised features.

    Attributes:
        key: Name of the representation's tensor ``(B, features)``.
    """

    key: ClassVar[str]
    config: LinearSvmConfig

    def __init__(self, config: LinearSvmConfig, classes: int) -> None:
        super().__init__(config, classes)
        self._learnt: dict[str, NDArray[np.float32]] = {}

    def fit(
        self,
        inputs: Inputs,
        labels: Tensor,
        seed: int,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """See `FittedRecognizer.fit`; features are standardised with these samples."""
        features = inputs[self.key].numpy().astype(np.float64)
        targets = labels.numpy()
        present = np.unique(targets)
        if present[-1] >= self.classes or present[0] < 0:
            raise ValueError(
                f"{self.name}: labels {present.tolist()}, expected 0 to {self.classes - 1}"
            )
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1)
        # In place, since the histograms of a synthesized dataset take gigabytes.
        features -= mean
        features /= scale
        normals = np.zeros((self.classes, features.shape[1]))
        bias = np.full(self.classes, -np.inf)
        if len(present) == 1:
            bias[present] = 0
        else:
            machine = LinearSVC(
                C=self.config.c,
                class_weight="balanced" if self.config.balanced else None,
                max_iter=_ITERATIONS,
                random_state=seed,
            ).fit(features, targets, weights)
            # For two classes scikit-learn has only the machine of the second one.
            signs = np.array([[-1], [1]]) if len(present) == 2 else 1
            normals[present] = signs * machine.coef_ / scale
            bias[present] = np.ravel(signs * machine.intercept_[:, None])
        learnt = {"mean": mean, "weights": normals, "bias": bias}
        self._learnt = {name: array.astype(np.float32) for name, array in learnt.items()}

    def scores(self, inputs: Inputs) -> Tensor:
        """See `FittedRecognizer.scores`."""
        if not self._learnt:
            raise ValueError(
                f"{self.name} was not fitted: call fit or load_state before asking for scores"
            )
        features = inputs[self.key]
        mean, weights, bias = (
            torch.from_numpy(self._learnt[name]).to(features.device)
            for name in ("mean", "weights", "bias")
        )
        return (features.float() - mean) @ weights.T + bias

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return ``mean`` (features,), ``weights`` (classes, features) and ``bias`` (classes,).

        The weights apply to centred features that are not scaled.
        """
        return dict(self._learnt)

    def load_state(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """See `FittedRecognizer.load_state`.

        Raises:
            ValueError: The state is of another recognizer, or has other classes.
        """
        found = {name: array.shape for name, array in state.items()}
        length = state["mean"].size if "mean" in state else 0
        expected = {
            "mean": (length,),
            "weights": (self.classes, length),
            "bias": (self.classes,),
        }
        if found != expected:
            raise ValueError(f"{self.name}: the state has {found}, expected {expected}")
        self._learnt = {name: np.asarray(array, np.float32) for name, array in state.items()}
