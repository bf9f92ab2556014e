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
    median, inside = found.micro[2], found.micro_inside
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
            f"motion of {low:g} to {high:g} px in a frame of 128 px in at least "
            f"{_percent(targets.motion_share, 0)} of the micro-expressions",
            inside,
            f"{_percent(inside)} (median {median:.2f} px, 5th to 95th percentile "
            f"{found.micro[0]:.2f} to {found.micro[4]:.2f})",
            inside >= targets.motion_share,
        ),
    ]


def judge_outside(outside: np.ndarray, targets: Targets) -> Verdict:
    """Change outside the face, mean over faces and cases."""
    value = float(outside.mean())
    return Verdict(
        "outside",
        f"changes outside the face by less than {targets.outside:g} grey levels of 255",
        value,
        f"{value:.3f} (at most {float(outside.max()):.2f})",
        value < targets.outside,
    )


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


def better_than_warp(
    verdicts: Sequence[Verdict], warp: Sequence[Verdict], gain: tuple[float, float]
) -> dict[str, bool]:
    """Say in which figures a generator is better than `warp`, or as good where that is enough.

    Fidelity and realism must be better by more than their errors. In direction, identity, nulls,
    motion and what changes outside the face it is enough to meet the target or to be no worse.

    Args:
        verdicts: The generator's.
        warp: Those of `warp`, on the same faces and cases.
        gain: How much higher the fidelity is, and the standard error of that.
    """
    lower_is_better = ("nulls", "outside")
    theirs = {one.name: one for one in warp}
    found = {"fidelity": gain[0] > gain[1]}
    for one in verdicts:
        other = theirs[one.name].value
        if one.name == "kid":
            found["kid"] = bool(one.met)
        elif one.name != "fidelity":
            sign = -1 if one.name in lower_is_better else 1
            known = one.value is not None and other is not None
            no_worse = known and sign * (one.value or 0.0) >= sign * (other or 0.0)
            found[one.name] = bool(one.met) or no_worse
    return found


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
