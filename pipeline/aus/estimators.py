"""Choice of the estimator that measures a generator.

An estimator that labelled the training data of a generator must not measure it, since the
generator reproduces the errors of its labels and would get too high a score.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from miex.au_sources.estimators.base import create_estimator
from miex.generators._auto import embedded_weights
from miex.generators.base import GeneratorConfig
from miex.generators.ganimation.checkpoint import load_checkpoint

_PREFERRED = ("mediapipe", "openface-models:AU_predictors", "landmarks")
"""Estimators in order of preference, with models searched for in the working directory.

MediaPipe comes first because OpenFace's regressors usually label the training data.
"""


def choose_estimator(avoid: Sequence[str]) -> str:
    """Return the first preferred estimator that is installed and did not label training data.

    Args:
        avoid: Names of the estimators that labelled training data.

    Returns:
        The spec of the estimator, ``NAME`` or ``NAME:MODEL``.

    Raises:
        FileNotFoundError: No such estimator is available.
    """
    for spec in _PREFERRED:
        if spec.partition(":")[0] in avoid:
            continue
        try:
            create_estimator(spec)
        except (ModuleNotFoundError, FileNotFoundError):
            continue
        return spec
    raise FileNotFoundError(
        "no AU estimator is available that did not label the training data of the generator; name "
        "one with --estimator: mediapipe:face_landmarker.task or openface-models:FOLDER"
    )


def labellers(config: GeneratorConfig) -> list[str]:
    """Return the names of the estimators that labelled the training data of a generator.

    The names are read from the card of the checkpoint.

    Args:
        config: Name and checkpoint of the generator.

    Returns:
        Names in alphabetical order; empty for a generator without a checkpoint.

    Raises:
        FileNotFoundError: The checkpoint is missing.
        ValueError: The checkpoint cannot be read.
    """
    checkpoint = config.checkpoint
    if config.name == "ganimation" and checkpoint is None:
        checkpoint = embedded_weights()
    if checkpoint is None:
        return []
    return sorted(set(_estimators(load_checkpoint(checkpoint).card)))


def _estimators(card: Any) -> Iterator[str]:
    """Yield the names under every key `estimator` of a card, whose values can be JSON strings."""
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
    """Check that no estimator measures a generator whose training data it labelled.

    Args:
        estimators: Names of the estimators that measure.
        labelled_by: Names of the estimators that labelled the training data.
        allowed: Whether such estimators are permitted.

    Returns:
        Names of the estimators that do both.

    Raises:
        ValueError: An estimator does both and this is not permitted.
    """
    both = [name for name in estimators if name in labelled_by]
    if both and not allowed:
        raise ValueError(
            f"estimator {', '.join(both)} labelled the training data of the generator, which "
            "reproduces the errors of its labels and would get too high a score; measure with "
            "another one (mediapipe:face_landmarker.task, openface-models:FOLDER, landmarks). "
            "`miex assess-generator` permits it with --allow-training-estimator and says so"
        )
    return both
