"""Comparison of the measures of a generator with the targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from miex.pipeline.assessment.config import Targets
from miex.pipeline.assessment.realism import paired_kid
from miex.pipeline.assessment.summary import Fidelity, Motion, RealismNumbers


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target and the measured value.

    Attributes:
        name: Short name of the target.
        target: The target in words.
        value: The measured value, or None if nothing was measured.
        text: The measured value in words, with its standard error if known.
        met: Whether the target is met; None if it does not apply.
    """

    name: str
    target: str
    value: float | None
    text: str
    met: bool | None


def judge_fidelity(
    found: Fidelity, error: float, chosen: Sequence[str], targets: Targets
) -> list[Verdict]:
    """Compare fidelity and direction with their targets.

    Args:
        found: AU fidelity of the generator.
        error: Standard error of the mean correlation.
        chosen: Names of the AUs to average over.
        targets: The targets.
    """
    if not chosen:
        text = "no AU on which two estimators agree"
        names = ("fidelity", "direction")
        return [Verdict(name, "at least one measurable AU", None, text, False) for name in names]
    value = found.mean_correlation(chosen)
    share = found.mean_direction(chosen, targets.direction_from)
    return [
        Verdict(
            "fidelity",
            f"correlation of requested and estimated change at least {targets.correlation:g}",
            value,
            f"{value:.3f} ± {error:.3f}",
            value >= targets.correlation,
        ),
        Verdict(
            "direction",
            f"estimate rises in at least {_percent(targets.direction, 0)} of the faces at "
            f"intensities of {targets.direction_from:g} and above",
            share,
            _percent(share),
            share >= targets.direction,
        ),
    ]


def judge_motion(found: Motion, targets: Targets) -> list[Verdict]:
    """Compare the share of cases without motion and the motion of micro-expressions."""
    low, high = targets.motion
    median = found.micro[2]
    return [
        Verdict(
            "nulls",
            f"less than {_percent(targets.nulls, 0)} of all cases without motion",
            found.nulls,
            _percent(found.nulls, 2),
            found.nulls < targets.nulls,
        ),
        Verdict(
            "motion",
            f"median motion of micro-expressions {low:g} to {high:g} px in a frame of 128 px",
            median,
            f"{median:.2f} px ({_percent(found.micro_inside, 0)} inside the range; 5th to 95th "
            f"percentile {found.micro[0]:.2f} to {found.micro[4]:.2f})",
            low <= median <= high,
        ),
    ]


def judge_identity(distances: np.ndarray, targets: Targets) -> Verdict:
    """Compare the share of rendered frames that show the same person with its target.

    Args:
        distances: Euclidean distances between dlib's embeddings of frame and photograph, any shape.
        targets: The targets.
    """
    share = float((distances < targets.same_person).mean())
    return Verdict(
        "identity",
        f"same person (distance below {targets.same_person:g}) in at least "
        f"{_percent(targets.identity, 0)}",
        share,
        f"{_percent(share, 2)} (median distance {np.median(distances):.3f})",
        share >= targets.identity,
    )


def judge_realism(found: RealismNumbers, warp: RealismNumbers | None) -> Verdict:
    """Compare the KID of a generator with that of `warp` on the same faces and draws.

    The target is met if the KID is lower by more than the standard error of the difference.

    Args:
        found: Realism of the generator.
        warp: Realism of `warp`, or None if the generator is `warp`.
    """
    text = f"{found.kid:.2f} ± {found.kid_error:.2f}"
    name = f"KID ({found.embedding}, thousandths)"
    if warp is None:
        return Verdict("kid", f"{name} lower than that of warp", found.kid, text, None)
    mean, error = paired_kid(found.terms - warp.terms)
    return Verdict(
        "kid",
        f"{name} lower than that of warp",
        found.kid,
        f"{text}; difference to warp {mean:+.2f} ± {error:.2f}",
        mean < -error,
    )


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
