"""Choose one of several rows of an experiment in nested folds of subjects, and score the choice."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
import pyarrow as pa

from miex.pipeline.experiments.config import Choice, Metric
from miex.pipeline.recognition.metrics import confusion, scores
from miex.pipeline.recognition.results import Result


@dataclass(frozen=True, slots=True)
class NestedChoice:
    """The choice in each fold, and its scores.

    Attributes:
        chosen: Row by fold.
        runs: Score of the metric by seed, pooled over the folds.
    """

    chosen: Mapping[str, str]
    runs: Mapping[int, float]


def choose_in_nested_folds(results: Mapping[str, Result], metric: Metric) -> NestedChoice:
    """Choose a row for each fold without its clips, and score the choice on them.

    In each fold, the row is chosen whose score on the clips of all other folds, the mean over the
    seeds, is highest; its predictions for the clips of this fold are counted. So no clip takes part
    in the choice that it tests (Cawley and Talbot, JMLR 2010). Rows that are fine-tuned were
    trained, in the other folds, on clips of this one: their choice is nested by test clips alone.

    Args:
        results: Evaluations by row, of the same clips in the same folds.
        metric: What is compared.

    Raises:
        ValueError: Fewer than two rows, fewer than two folds, or rows with other clips, folds or
            seeds.
    """
    if len(results) < 2:
        raise ValueError(f"a choice needs at least two rows, expected more than {list(results)}")
    tables = {row: _sorted(result) for row, result in results.items()}
    first_row, first = next(iter(tables.items()))
    for row, table in tables.items():
        for column in ("seed", "fold", "key"):
            if not table[column].equals(first[column]):
                raise ValueError(
                    f"rows {first_row!r} and {row!r} have other {column}s; evaluate both on the"
                    " same clips, folds and seeds"
                )
    classes = len(next(iter(results.values())).content["classes"])
    labels, seeds, folds = (first[name].to_numpy() for name in ("label", "seed", "fold"))
    guesses = {row: table["prediction"].to_numpy() for row, table in tables.items()}
    if len(set(folds)) < 2:
        raise ValueError("a nested choice needs at least two folds")

    def score(predicted: np.ndarray, where: np.ndarray) -> float:
        counts = confusion(labels[where], predicted[where], classes)
        return float(getattr(scores(counts), metric))

    chosen, combined = {}, np.empty_like(labels)
    for fold in sorted(set(folds)):
        others = {
            row: fmean(score(guess, (folds != fold) & (seeds == seed)) for seed in set(seeds))
            for row, guess in guesses.items()
        }
        chosen[fold] = max(others, key=lambda row: others[row])
        combined[folds == fold] = guesses[chosen[fold]][folds == fold]
    return NestedChoice(
        chosen, {int(seed): score(combined, seeds == seed) for seed in sorted(set(seeds))}
    )


def judge_choice(choice: Choice, column: str, results: Mapping[str, Result], metric: Metric) -> str:
    """Return a sentence with the score of a choice in one column.

    Args:
        choice: Rows to choose from.
        column: Name of the column.
        results: Finished evaluations of the column by row.
        metric: What is compared.
    """
    start = f"{choice.text}: {column}: "
    missing = [row for row in choice.rows if row not in results]
    if missing:
        return f"{start}not computed ({', '.join(map(repr, missing))})"
    try:
        nested = choose_in_nested_folds({row: results[row] for row in choice.rows}, metric)
    except ValueError as error:
        return f"{start}not computed ({error})"
    values = list(nested.runs.values())
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    often = Counter(nested.chosen.values()).most_common()
    rows = ", ".join(f"{row!r} in {count} of {len(nested.chosen)} folds" for row, count in often)
    return f"{start}{metric.upper()} {fmean(values):.3f}{spread}; chosen {rows}"


def _sorted(result: Result) -> pa.Table:
    return result.predictions.sort_by([(name, "ascending") for name in ("seed", "fold", "key")])
