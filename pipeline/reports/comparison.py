"""Compare two datasets or pools, distribution by distribution, with effect sizes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_NAMES
from miex.pipeline.reports.effects import Effect, jensen_shannon, measure_effect
from miex.pipeline.reports.pixels import Pixels
from miex.pipeline.reports.samples import Samples
from miex.pipeline.reports.statistics import active_aus

_LEAST_VALUES = 10

MEASURE_WORDS = {
    "motion": ("Motion", "pixels"),
    "motion_iod": ("Motion", "inter-ocular distances"),
    "psnr": ("PSNR of onset and apex", "dB"),
    "ssim": ("SSIM of onset and apex", ""),
    "identity_similarity": ("Identity similarity", "cosine"),
    "au_fidelity": ("AU fidelity", "correlation"),
}
"""What each measure is called, and its unit."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One quantity in both.

    Attributes:
        quantity: What is compared.
        emotion: In which class, or `all`.
        unit: Of the values; "share" for how often something occurs.
        effect: How they differ.
    """

    quantity: str
    emotion: str
    unit: str
    effect: Effect

    def as_dict(self) -> dict[str, Any]:
        """Return a flat dictionary for JSON and CSV."""
        effect = asdict(self.effect)
        means, medians = effect.pop("means"), effect.pop("medians")
        return {
            "quantity": self.quantity,
            "emotion": self.emotion,
            "unit": self.unit,
            "mean": means[0],
            "other_mean": means[1],
            "median": medians[0],
            "other_median": medians[1],
            **effect,
            "magnitude": self.effect.magnitude,
        }


def measures_of(samples: Samples, pixels: Pixels | None) -> dict[str, NDArray[np.float64]]:
    """Return every measure that is known of any sample, in the order of `MEASURE_WORDS`."""
    every = dict(samples.measures)
    if pixels is not None:
        every |= {"psnr": pixels.psnr, "ssim": pixels.ssim}
    return {
        name: every[name]
        for name in MEASURE_WORDS
        if name in every and not np.isnan(every[name]).all()
    }


def compare_samples(
    first: tuple[Samples, Pixels | None], second: tuple[Samples, Pixels | None]
) -> list[Compared]:
    """Compare every quantity that both have, over all samples and in every class they share.

    Returns:
        The largest effects first, those of fewer than ten values at the end.
    """
    found = []
    emotions = [np.array(samples.emotion, dtype=object) for samples, _ in (first, second)]
    shared = [name for name in first[0].classes if all(name in e for e in emotions)]
    quantities = [_quantities(*part) for part in (first, second)]
    for emotion in ["all", *(shared if len(shared) > 1 else [])]:
        inside = [e == emotion if emotion != "all" else np.ones(len(e), bool) for e in emotions]
        for key, (unit, values) in quantities[0].items():
            if key not in quantities[1]:
                continue
            effect = measure_effect(values[inside[0]], quantities[1][key][1][inside[1]])
            if effect is not None:
                found.append(Compared(key, emotion, unit, effect))
    return sorted(found, key=lambda one: (_few(one.effect), -abs(one.effect.cliffs_delta)))


def _few(effect: Effect) -> bool:
    """Return whether so few values were compared that their effect is chance; those come last."""
    return min(effect.first, effect.second) < _LEAST_VALUES


def _quantities(
    samples: Samples, pixels: Pixels | None
) -> dict[str, tuple[str, NDArray[np.float64]]]:
    rises = samples.rises.astype(np.float64)
    active = active_aus(samples.rises)
    found = {"Active AUs": ("AUs", active.sum(axis=1).astype(np.float64))}
    for au, name in enumerate(AU_NAMES):
        known = np.where(np.isnan(rises[:, au]), np.nan, active[:, au].astype(np.float64))
        found[f"{name} active"] = ("share", known)
        found[f"{name} change"] = ("intensity", rises[:, au])
        strength = np.where(active[:, au], samples.apex[:, au].astype(np.float64), np.nan)
        found[f"{name} intensity where active"] = ("intensity", strength)
    for name, values in measures_of(samples, pixels).items():
        words, unit = MEASURE_WORDS[name]
        found[f"{words}, {unit}" if name.startswith("motion") else words] = (unit, values)
    return found


def category_divergence(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the Jensen-Shannon divergence of two columns of names, bits."""
    codes = {name: code for code, name in enumerate(sorted({*first, *second}))}
    # The divergence of few different numbers is that of their counts, whatever the numbers are.
    return jensen_shannon([codes[n] for n in first], [codes[n] for n in second])
