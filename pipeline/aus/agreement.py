"""Selection of the AU labels that are reliable because a second estimator agrees with them.

If two estimators disagree about an AU on the same photographs, at least one of them measures
mostly noise, and a generator trained on such labels learns noise. Agreement is measured as in a
calibration: the estimates of the second estimator are mapped monotonically onto the scale of the
labels, and Pearson's correlation with the labels is cross-validated over identities.
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
    """Agreement of one second estimator with the labels.

    Attributes:
        against: Name of the second estimator and of the data on which it was compared.
        correlations: Cross-validated Pearson correlation by AU name. An AU that one of the two
            estimators does not measure is absent.
        photographs: Number of photographs compared, by AU name.
    """

    against: str
    correlations: Mapping[str, float]
    photographs: Mapping[str, int]

    @classmethod
    def of(cls, calibration: Calibration, against: str) -> "Confirmation":
        """Return the cross-validated correlations of a calibration.

        Args:
            calibration: A calibration between the two estimators.
            against: Name of the second estimator and of the data.
        """
        return cls(
            against,
            {name: one.correlation for name, one in calibration.maps.items()},
            {name: one.pairs for name, one in calibration.maps.items()},
        )


def shipped_confirmations(estimator: AUEstimator) -> list[Confirmation]:
    """Return the agreements that the calibrations shipped with miex contain for an estimator.

    A calibration compares two estimators; either of the two can be the given one.

    Args:
        estimator: The estimator that made the labels.

    Returns:
        One agreement per matching calibration; empty where none matches.
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
    """Return the hash of the model from a version string, without the calibration part."""
    return version.partition(", calibrated to ")[0].split()[-1]


def measured_confirmation(
    labels: AUArray,
    identities: Sequence[str],
    labeller: AUEstimator,
    second: AUArray,
    second_estimator: AUEstimator,
) -> Confirmation:
    """Measure the agreement of a second estimator with the labels of N photographs.

    Args:
        labels: ``float32 (N, 17)`` intensities, NaN where not measured.
        identities: N names of identities; each fold of the cross-validation holds whole
            identities.
        labeller: The estimator that made the labels.
        second: ``float32 (N, 17)`` estimates of the second estimator, NaN where not measured.
        second_estimator: The second estimator.

    Raises:
        ValueError: There are too few photographs or identities, or no AU is measured by both
            estimators.
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
    """Decide for every AU whether its labels are used for training.

    An AU is trusted if it was measured, if its label is not constant over the photographs, and if
    its highest correlation with a second estimator is at least the minimum. With a minimum of 0 no
    second estimator is needed.

    Args:
        labels: ``float32 (N, 17)`` intensities, NaN where not measured.
        confirmations: Agreements of second estimators.
        minimum: Smallest Pearson correlation, 0 to 1.

    Returns:
        One decision for each of the 17 AUs, in the order of `AU_NAMES`.
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
