"""Which targets a generator meets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from miex.pipeline.assessment.config import Targets
from miex.pipeline.assessment.realism import paired_kid
from miex.pipeline.assessment.summary import Fidelity, Motion, RealismNumbers


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target and what was measured.

    Attributes:
        name: Short.
        target: In words.
        value: What was measured.
        text: The same for people, with its error where there is one.
        met: Whether the target is met; None where it does not apply.
    """

    name: str
    target: str
    value: float | None
    text: str
    met: bool | None


def judge_fidelity(
    found: Fidelity, error: float, chosen: Sequence[str], targets: Targets
) -> list[Verdict]:
    """Correlation and direction over the AUs that count."""
    if not chosen:
        text = "no AU that two estimators agree on"
        names = ("fidelity", "direction")
        return [Verdict(name, "an AU to measure", None, text, False) for name in names]
    value = found.mean_correlation(chosen)
    share = found.mean_direction(chosen, targets.direction_from)
    return [
        Verdict(
            "fidelity",
            f"correlation of asked and estimated change at least {targets.correlation:g}",
            value,
            f"{value:.3f} ± {error:.3f}",
            value >= targets.correlation,
        ),
        Verdict(
            "direction",
            f"right direction in at least {_percent(targets.direction, 0)} from intensity "
            f"{targets.direction_from:g} on",
            share,
            _percent(share),
            share >= targets.direction,
        ),
    ]


def judge_motion(found: Motion, targets: Targets) -> list[Verdict]:
    """Nulls, and motion of micro-expressions."""
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
            f"median micro-expression moves {low:g} to {high:g} px at 128 px",
            median,
            f"{median:.2f} px ({_percent(found.micro_inside, 0)} inside; 5 to 95 % "
            f"{found.micro[0]:.2f} to {found.micro[4]:.2f})",
            low <= median <= high,
        ),
    ]


def judge_identity(distances: np.ndarray, targets: Targets) -> Verdict:
    """Share of rendered frames that are still the same person."""
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
    """KID against that of `warp`, on the same people and draws.

    Better means lower by more than the standard error of the difference: a coin must not decide.
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
        f"{text}; less warp {mean:+.2f} ± {error:.2f}",
        mean < -error,
    )


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
