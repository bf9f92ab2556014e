"""Which estimators may measure a generator: none that labelled what it was trained on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from miex.au_sources.estimators.base import create_estimator
from miex.generators._auto import embedded_weights
from miex.generators.base import GeneratorConfig
from miex.generators.ganimation.checkpoint import load_checkpoint

PREFERRED = ("mediapipe", "openface-models:AU_predictors", "landmarks")
"""Estimators to measure with when none is named, the best first; models are looked for in the
working directory. MediaPipe comes first because OpenFace's regressors label training data."""


def choose_estimator(avoid: Sequence[str]) -> str:
    """The first of the preferred estimators that is there and did not label training data.

    Raises:
        FileNotFoundError: There is none.
    """
    for spec in PREFERRED:
        if spec.partition(":")[0] in avoid:
            continue
        try:
            create_estimator(spec)
        except (ModuleNotFoundError, FileNotFoundError):
            continue
        return spec
    raise FileNotFoundError(
        "no AU estimator is here that did not label the training data; name one with --estimator: "
        "mediapipe:face_landmarker.task or openface-models:FOLDER"
    )


def labellers(config: GeneratorConfig) -> list[str]:
    """Names of the estimators that a checkpoint's card says it was trained with.

    Raises:
        FileNotFoundError: The checkpoint is absent.
        ValueError: The checkpoint cannot be read.
    """
    checkpoint = config.checkpoint
    if config.name == "ganimation" and checkpoint is None:
        checkpoint = embedded_weights()
    if checkpoint is None:
        return []
    return sorted(set(_estimators(load_checkpoint(checkpoint).card)))


def _estimators(card: Any) -> Iterator[str]:
    """Names behind every key `estimator` of a card; its values may be JSON themselves."""
    if isinstance(card, str) and card[:1] in "{[":
        with suppress(ValueError):
            yield from _estimators(json.loads(card))
    elif isinstance(card, Mapping):
        for key, value in card.items():
            if key == "estimator" and isinstance(value, str) and value.strip():
                yield value.split()[0].partition(":")[0]
            else:
                yield from _estimators(value)


def refuse_training_estimators(
    estimators: Sequence[str], labelled_by: Sequence[str], allowed: bool = False
) -> list[str]:
    """Names of the estimators that labelled training data and measure all the same.

    Args:
        estimators: Names of those that measure.
        labelled_by: Names of those that labelled.
        allowed: Whether the user insists.

    Raises:
        ValueError: There are such, and the user does not insist.
    """
    both = [name for name in estimators if name in labelled_by]
    if both and not allowed:
        raise ValueError(
            f"estimator {', '.join(both)} labelled the training data: a generator learns its "
            "labeller's errors and would be praised for them; measure with another one "
            "(mediapipe:face_landmarker.task, openface-models:FOLDER, landmarks), or, where you "
            "assess and every result says so, insist with --allow-training-estimator"
        )
    return both
