"""Results of evaluations: predictions of every clip, and their scores.

OUT/result.json           scores, protocol, clips, training data
OUT/predictions.parquet   seed, fold, key, database, subject, label, prediction, score of each class
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from miex.datasets.documents import read_document, write_document
from miex.datasets.files import whole_file
from miex.datasets.given_files import require_folder
from miex.datasets.seals import SEAL, UNSEALED, check_seal
from miex.pipeline.recognition.metrics import (
    Counts,
    Scores,
    bootstrap,
    chance,
    confusion,
    scores,
)
from miex.pipeline.recognition.sample import SampleInfo

FORMAT = "miex-result/1"
RESULT = "result.json"
PREDICTIONS = "predictions.parquet"

_REMEDY = "start the same `miex evaluate` command again in a new folder"

PRIMARY = ("uf1", "uar", "accuracy", "weighted_f1")
"""Scores of the pooled counts, and of each fold."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction for one clip in one run.

    Attributes:
        seed: Seed of the run.
        fold: Name of the fold.
        key: `SampleInfo.key`.
        prediction: Predicted class.
        scores: Score of each class.
        majority: Most frequent class of the training clips of the fold.
        last_epoch: Predicted class after the last epoch of a training whose epoch was chosen on the
            test clips; else None.
    """

    seed: int
    fold: str
    key: str
    prediction: int
    scores: tuple[float, ...]
    majority: int
    last_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """Result of an evaluation.

    Attributes:
        folder: Its folder.
        content: Content of `RESULT`; docs/evaluation.md describes the entries.
    """

    folder: Path
    content: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "Result":
        """Open a folder that `miex evaluate` finished.

        Raises:
            FileNotFoundError: There is no result.
            ValueError: The result is damaged or has another format.
        """
        path = Path(folder) / RESULT
        require_folder(Path(folder), "result of an evaluation", "`miex evaluate` writes one")
        if not path.exists():
            raise FileNotFoundError(
                f"{folder} holds no finished evaluation: {RESULT} is missing; start the same"
                " `miex evaluate` command again to finish one that was interrupted"
            )
        content = read_document(path, "result", _REMEDY, check=lambda each: _require(path, each))
        return cls(Path(folder), content)

    @property
    def predictions(self) -> pa.Table:
        """Predictions, one row per clip and seed."""
        path = self.folder / PREDICTIONS
        try:
            table = pq.read_table(path)
        except FileNotFoundError:
            raise FileNotFoundError(f"{path} is missing; {_REMEDY}") from None
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{path} is damaged ({reason}); {_REMEDY}") from None
        check_seal(path, _REMEDY)
        return table


def _require(path: Path, content: Mapping[str, Any]) -> None:
    found = content.get("format")
    if found is None:
        raise ValueError(f"{path} is damaged (it has no 'format'); {_REMEDY}")
    if found != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT!r}, found {found!r}")


def summarize(
    infos: Sequence[SampleInfo],
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    from_aus: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the scores of predictions, which are assigned to clips by key.

    Args:
        infos: The tested clips.
        predictions: One per seed and clip.
        classes: Names of the classes.
        from_aus: The class of each clip predicted from its AU codes, see `au_baseline`.

    Returns:
        ``pooled`` (counts summed over folds, each seed with the mean and the standard deviation
        over seeds), ``mean_over_folds`` (the same of the mean of the scores of each fold, and the
        deviation over folds), ``databases`` (pooled, for each), ``other`` (the numbers that papers
        also report, by their names), ``interval`` (bootstrap over subjects, the seeds' counts
        summed), ``baselines``, the confusion matrices, and for an oracle ``last_epoch``, the pooled
        scores after the last epoch of the same trainings.

    Raises:
        ValueError: A clip has no prediction or two of one seed, or a prediction has no clip.
    """
    by_key = {info.key: info for info in infos}
    seeds = sorted({each.seed for each in predictions})
    _require_complete(by_key, predictions, seeds)
    size = len(classes)
    whole = {seed: [each for each in predictions if each.seed == seed] for seed in seeds}

    def count(part: Sequence[Prediction]) -> Counts:
        labels = [by_key[each.key].label for each in part]
        return confusion(labels, [each.prediction for each in part], size)

    databases = sorted({info.database for info in infos})
    people = sorted({info.person for info in infos})
    matrices = {seed: count(part) for seed, part in whole.items()}
    first = whole[seeds[0]]
    labels = [by_key[each.key].label for each in first]
    baselines = {
        "majority": scores(confusion(labels, [each.majority for each in first], size)),
        "chance": chance(np.bincount(labels, minlength=size).tolist()),
    }
    if from_aus is not None:
        guesses = [from_aus[each.key] for each in first]
        baselines["annotated_aus"] = scores(confusion(labels, guesses, size))
    return {
        "pooled": _over_seeds([scores(matrix) for matrix in matrices.values()], seeds),
        "mean_over_folds": _over_folds(list(whole.values()), seeds, count),
        "databases": {
            name: _over_seeds(
                [
                    scores(count([p for p in part if by_key[p.key].database == name]))
                    for part in whole.values()
                ],
                seeds,
            )
            for name in databases
        },
        "other": _other_scores(by_key, list(whole.values()), count),
        "interval": {
            name: asdict(interval)
            for name, interval in bootstrap(
                [count([p for p in predictions if by_key[p.key].person == who]) for who in people]
            ).items()
        },
        "baselines": {name: asdict(each) for name, each in baselines.items()},
        "confusion": {str(seed): matrix.tolist() for seed, matrix in matrices.items()},
        **_after_last_epoch(by_key, whole, size),
    }


def _after_last_epoch(
    by_key: Mapping[str, SampleInfo], runs: Mapping[int, Sequence[Prediction]], size: int
) -> dict[str, Any]:
    """Return the entry ``last_epoch``, or nothing if a prediction lacks it."""
    found = []
    for run in runs.values():
        last = [each.last_epoch for each in run if each.last_epoch is not None]
        if len(last) < len(run):
            return {}
        found.append(scores(confusion([by_key[each.key].label for each in run], last, size)))
    return {"last_epoch": _over_seeds(found, list(runs))}


def _require_complete(
    by_key: Mapping[str, SampleInfo], predictions: Sequence[Prediction], seeds: Sequence[int]
) -> None:
    seen: set[tuple[int, str]] = set()
    for each in predictions:
        if each.key not in by_key:
            raise ValueError(f"a prediction is of {each.key}, which was not to be tested on")
        if (each.seed, each.key) in seen:
            raise ValueError(f"{each.key} has two predictions of seed {each.seed}")
        seen.add((each.seed, each.key))
    for seed in seeds:
        missing = sorted(key for key in by_key if (seed, key) not in seen)
        if missing:
            raise ValueError(
                f"{len(missing)} clips lack a prediction of seed {seed}, the first is {missing[0]}"
            )


def _over_seeds(each: Sequence[Scores], seeds: Sequence[int]) -> dict[str, Any]:
    values = {name: np.array([getattr(one, name) for one in each]) for name in PRIMARY}
    return {
        "seeds": {str(seed): asdict(one) for seed, one in zip(seeds, each, strict=True)},
        "mean": {name: float(value.mean()) for name, value in values.items()},
        "deviation": {
            name: float(value.std(ddof=1)) if len(value) > 1 else None
            for name, value in values.items()
        },
    }


def _over_folds(
    runs: Sequence[Sequence[Prediction]], seeds: Sequence[int], count: Any
) -> dict[str, Any]:
    """Return the mean over folds of the scores of each fold, as MiE-X prints them.

    ``deviation`` is that of the mean over seeds, ``deviation_over_folds`` that of the folds, the
    mean over seeds; both are None of a single one. A class that a fold does not test counts with 0,
    as in `metrics`.
    """
    means, spreads = [], []
    for run in runs:
        folds = sorted({each.fold for each in run})
        of_folds = [scores(count([p for p in run if p.fold == fold])) for fold in folds]
        values = np.array([[getattr(each, name) for name in PRIMARY] for each in of_folds])
        means.append(values.mean(0))
        spreads.append(
            values.std(0, ddof=1) if len(of_folds) > 1 else np.full(len(PRIMARY), np.nan)
        )
    table = np.stack(means)
    deviation = table.std(0, ddof=1) if len(table) > 1 else [None] * len(PRIMARY)
    return {
        "seeds": {
            str(seed): dict(zip(PRIMARY, map(float, row), strict=True))
            for seed, row in zip(seeds, table, strict=True)
        },
        "mean": dict(zip(PRIMARY, map(float, table.mean(0)), strict=True)),
        "deviation": {
            name: None if value is None else float(value)
            for name, value in zip(PRIMARY, deviation, strict=True)
        },
        "deviation_over_folds": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(PRIMARY, np.mean(spreads, axis=0), strict=True)
        },
    }


def _other_scores(
    by_key: Mapping[str, SampleInfo], runs: Sequence[Sequence[Prediction]], count: Any
) -> dict[str, float]:
    """Return numbers that are not comparable with pooled ones, with distinct names."""
    fold_f1, fold_accuracy, subject_accuracy = [], [], []
    for run in runs:
        folds = sorted({each.fold for each in run})
        matrices = [count([p for p in run if p.fold == fold]) for fold in folds]
        fold_f1 += [np.mean([scores(matrix).uf1 for matrix in matrices])]
        fold_accuracy += [np.mean([scores(matrix).accuracy for matrix in matrices])]
        people = sorted({by_key[each.key].person for each in run})
        subject_accuracy += [
            np.mean(
                [
                    scores(count([p for p in run if by_key[p.key].person == who])).accuracy
                    for who in people
                ]
            )
        ]
    return {
        "mean_over_folds_f1": float(np.mean(fold_f1)),
        "mean_over_folds_accuracy": float(np.mean(fold_accuracy)),
        "mean_over_subjects_accuracy": float(np.mean(subject_accuracy)),
    }


def write_result(
    folder: Path,
    about: Mapping[str, Any],
    infos: Sequence[SampleInfo],
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    from_aus: Mapping[str, int] | None = None,
) -> Result:
    """Write a finished evaluation; `RESULT` is written last and marks it as complete.

    Args:
        folder: Folder of the evaluation.
        about: All facts except the scores: protocol, clips, recognizer, training.
        infos: The tested clips.
        predictions: See `summarize`.
        classes: Names of the classes.
        from_aus: See `summarize`.

    Raises:
        ValueError: See `summarize`.
        DiskFullError: The disk is full.
    """
    content = {"format": FORMAT, **about, **summarize(infos, predictions, classes, from_aus)}
    by_key = {info.key: info for info in infos}
    table = pa.table(
        {
            "seed": pa.array([each.seed for each in predictions], pa.int64()),
            "fold": [each.fold for each in predictions],
            "key": [each.key for each in predictions],
            "database": [by_key[each.key].database for each in predictions],
            "subject": [by_key[each.key].subject for each in predictions],
            "label": pa.array([by_key[each.key].label for each in predictions], pa.int8()),
            "prediction": pa.array([each.prediction for each in predictions], pa.int8()),
            "scores": pa.array([list(each.scores) for each in predictions], pa.list_(pa.float32())),
        }
    )
    about_table = {"classes": json.dumps(list(classes)), SEAL: UNSEALED}
    with whole_file(folder / PREDICTIONS, sealed=True) as temporary:
        table = table.replace_schema_metadata(about_table)
        pq.write_table(table, temporary, compression="zstd")
    write_document(folder / RESULT, content)
    return Result(folder, content)


def require_comparable(results: Sequence[Result]) -> None:
    """Check that results can be compared.

    Raises:
        ValueError: Protocol, label space or list of clips differ; the message names them.
    """
    if not results:
        raise ValueError("there is no result to compare")
    first = results[0]
    for other in results[1:]:
        for name, what in (
            ("protocol", "protocol"),
            ("label_space", "label space"),
            ("clip_list", "list of clips"),
        ):
            one, two = first.content[name], other.content[name]
            if one != two:
                raise ValueError(
                    f"{first.folder} and {other.folder} cannot be compared: they differ in the"
                    f" {what} ({_brief(one)} and {_brief(two)}, {first.content['clips']} and"
                    f" {other.content['clips']} clips); evaluate both on the same"
                )


def _brief(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) > 24 else text
