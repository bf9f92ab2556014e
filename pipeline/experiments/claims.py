"""Say in words which claims of an experiment its scores support."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from miex.datasets.quantity import quantity
from miex.pipeline.experiments.config import Claim, Experiment

_Scores = Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]]
"""Scores by row and column, then by seed, then by metric."""


def judge_claims(experiment: Experiment, cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each claim and column.

    A claim is confirmed if the mean difference of runs with the same seed is larger than its
    standard deviation (n - 1) over the seeds, contradicted if it is smaller than minus that, and
    else not decided. The first metric of the experiment is compared.

    Args:
        experiment: The experiment, with its claims.
        cells: Cells of the table, with ``row``, ``column`` and ``runs``, the scores of each seed.
    """
    scores = {(cell["row"], cell["column"]): cell["runs"] for cell in cells}
    columns = dict.fromkeys(cell["column"] for cell in cells)
    return [
        f"{claim.text}: {column}: {_verdict(claim, column, scores, experiment.metrics[0])}"
        for claim in experiment.claims
        for column in columns
    ]


def _verdict(claim: Claim, column: str, scores: _Scores, metric: str) -> str:
    """Return the verdict on a claim in one column, with its figures."""
    missing = [row for row in (*claim.better, *claim.than) if not scores.get((row, column))]
    if missing:
        return f"not computed ({', '.join(map(repr, missing))})"
    better = [scores[row, column] for row in claim.better]
    worse = [scores[row, column] for row in claim.than]
    seeds = sorted(set.intersection(*(set(each) for each in (*better, *worse))))
    differences = [
        fmean(each[seed][metric] for each in better) - fmean(each[seed][metric] for each in worse)
        for seed in seeds
    ]
    if len(differences) < 2:
        return "not decided, as there are fewer than two seeds in common"
    mean, deviation = fmean(differences), stdev(differences)
    figures = f"difference {mean:+.3f} ± {deviation:.3f} over {quantity(len(seeds), 'seed')}"
    if abs(mean) <= deviation:
        return f"not decided, {figures}"
    return f"{'confirmed' if mean > 0 else 'contradicted'}, {figures}"
