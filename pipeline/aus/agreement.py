"""Which AU labels may be trusted: those that a second estimator confirms.

An AU that two estimators read differently from the same photographs is mostly noise to at least
one of them, and a generator that learns from it learns noise. The measure is that of a
calibration: Pearson's correlation, cross-validated by identity, between the labels and the second
estimator mapped monotonically onto their scale.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, AUArray
from miex.au_sources.calibration import SHIPPED, Calibration
from miex.au_sources.estimators.base import AUEstimator
from miex.generators.ganimation.training_notes import AUAgreement


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How far one estimator confirms the labels.

    Attributes:
        against: The estimator, and where it was compared.
        correlations: By AU name; an AU that one of the two does not measure is absent.
        photographs: Compared, by AU name.
    """

    against: str
    correlations: Mapping[str, float]
    photographs: Mapping[str, int]

    @classmethod
    def of(cls, calibration: Calibration, against: str) -> "Confirmation":
        """The cross-validated correlations of a calibration."""
        return cls(
            against,
            {name: one.correlation for name, one in calibration.maps.items()},
            {name: one.pairs for name, one in calibration.maps.items()},
        )


def shipped_confirmations(estimator: AUEstimator) -> list[Confirmation]:
    """What the calibrations that come with miex say about the model that made the labels.

    A calibration compares two estimators, and either of them may have made the labels.
    """
    labeller = estimator.name, _model(estimator.version)
    found = []
    for path in sorted(SHIPPED.glob("calibration_*.json")):
        one = Calibration.read(path)
        if (one.estimator, _model(one.estimator_version)) == labeller:
            found.append(Confirmation.of(one, f"{one.reference} (table of miex)"))
        elif (one.reference, _model(one.reference_version)) == labeller:
            found.append(Confirmation.of(one, f"{one.estimator} (table of miex)"))
    return found


def _model(version: str) -> str:
    """The hash of the model, with which versions end, whatever calibration follows."""
    return version.partition(", calibrated to ")[0].split()[-1]


def measured_confirmation(
    labels: AUArray,
    identities: Sequence[str],
    labeller: AUEstimator,
    second: AUArray,
    second_estimator: AUEstimator,
) -> Confirmation:
    """Compares labels with a second estimator's on the same N photographs.

    Args:
        labels: ``(N, 17)``, NaN where not measured.
        identities: N names; the cross-validation tears none apart.
        labeller: What measured them.
        second: ``(N, 17)``, NaN where not measured.
        second_estimator: What measured those.

    Raises:
        ValueError: Too few photographs or people, or no AU that both measure.
    """
    against = f"{second_estimator.name} on these photographs"
    calibration = Calibration.fit(
        second,
        labels,
        identities,
        estimator=(second_estimator.name, second_estimator.version),
        reference_name=(labeller.name, labeller.version),
        data="photographs of a training set",
    )
    return Confirmation.of(calibration, against)


def agreement(
    labels: AUArray,
    confirmations: Iterable[Confirmation],
    minimum: float,
) -> tuple[AUAgreement, ...]:
    """Decides on every AU.

    An AU is trusted if it was measured, is not the same on every photograph, and its best
    confirmation reaches the minimum. With a minimum of 0 no confirmation is needed.

    Args:
        labels: ``(N, 17)``, NaN where not measured.
        confirmations: By second estimators.
        minimum: Smallest correlation.

    Returns:
        One entry for each of the 17 AUs, in their order.
    """
    found = list(confirmations)
    return tuple(_agreement(AU_NAMES[au], labels[:, au], found, minimum) for au in range(AU_COUNT))


def _agreement(
    name: str, labels: NDArray[np.float32], confirmations: Sequence[Confirmation], minimum: float
) -> AUAgreement:
    measured = labels[~np.isnan(labels)]
    best = max(
        (one for one in confirmations if name in one.correlations),
        key=lambda one: one.correlations[name],
        default=None,
    )
    if not len(measured):
        trusted, reason = False, "not measured"
    elif np.ptp(measured) == 0:
        trusted, reason = False, f"is {measured[0]:g} on every photograph"
    elif minimum == 0:
        trusted, reason = True, "no confirmation was asked for"
    elif best is None:
        trusted, reason = False, "no second estimator measures it"
    else:
        correlation = best.correlations[name]
        trusted = correlation >= minimum
        relation = "reaches" if trusted else "is below"
        reason = f"correlation {correlation:.2f} with {best.against}, {relation} {minimum:g}"
    if best is None:
        return AUAgreement(name, trusted, reason)
    return AUAgreement(
        name, trusted, reason, best.correlations[name], best.against, best.photographs[name]
    )
