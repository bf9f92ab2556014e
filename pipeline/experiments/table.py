"""Make the table of an experiment: our scores, the paper's, and whether they are comparable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miex.pipeline.experiments.claims import judge_claims
from miex.pipeline.experiments.config import Column, Published
from miex.pipeline.experiments.nested import judge_choice
from miex.pipeline.experiments.plan import Cell, Plan
from miex.pipeline.recognition.results import Result
from miex.pipeline.reports.results_page import notes_of

FORMAT = "miex-experiment/1"

NOT_COMPARABLE = "not comparable"

NO_RESULT = "no result yet"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a cell.

    Attributes:
        cell: Which one.
        result: Its evaluation, None if there is none (yet).
        reason: Why it cannot be computed, None where it can.
    """

    cell: Cell
    result: Result | None
    reason: str | None


def make_table(plan: Plan, outcomes: Sequence[Outcome], out: Path) -> dict[str, Any]:
    """Return the table with the cells that are finished.

    Args:
        plan: The experiment's.
        outcomes: One for each of its cells, in their order.
        out: Folder of the experiment; links to the results are relative to it.

    Returns:
        What ``table.json`` holds: ``standing``, what the clips are in words for every heading;
        ``columns`` and ``rows``; ``cells`` with our ``scores``, averaged as in the paper
        (``scoring``), those of the ``pooled`` counts, the ``paper``'s and the ``baselines``;
        ``claims`` and choices, each with what the scores say about it;
        ``departures`` from the paper; and ``notes``.
    """
    experiment = plan.experiment
    columns = []
    for column in plan.columns:
        mine = [each for each in outcomes if each.cell.column.name == column.name]
        contents = [each.result.content for each in mine if each.result is not None]
        columns.append(
            {"name": column.name, **standing(contents, column, plan.stand_in, plan.changed)}
        )
    cells = [_cell(each, plan, out) for each in outcomes]
    return {
        "format": FORMAT,
        "experiment": experiment.name,
        "title": experiment.title,
        "paper": experiment.paper,
        "place": experiment.place,
        "metrics": list(experiment.metrics),
        "scoring": experiment.scoring,
        "standing": _overall(columns),
        "columns": columns,
        "rows": list(plan.rows),
        "cells": cells,
        "claims": [*judge_claims(experiment, cells), *_choices(plan, outcomes)],
        "departures": [*plan.departures, *_started_from(outcomes)],
        "notes": [*experiment.notes, *_notes(outcomes)],
    }


def standing(
    contents: Sequence[Mapping[str, Any]],
    column: Column,
    stand_in: str | None,
    changed: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the clips of a column, and whether its scores are comparable with the paper's.

    Args:
        contents: Of the results in it.
        column: What the paper evaluates on.
        stand_in: What the clips are by declaration, if not the paper's.
        changed: What else is computed otherwise than in the paper.

    Returns:
        ``comparable``, and ``clips`` in words.
    """
    if not contents:
        said = f"stand-in ({stand_in}): {NOT_COMPARABLE}" if stand_in else NO_RESULT
        return {"comparable": False, "clips": said}
    counts = {_clips(content, column) for content in contents}
    shown = " or ".join(map(str, sorted(counts)))
    classes = {len(content["classes"]) for content in contents}
    if stand_in:
        problem = f"stand-in ({stand_in}), {shown} clips"
    elif any(content["oracle"] for content in contents):
        problem = f"oracle, not a result: the epoch is chosen on the {shown} test clips"
        if column.settings.get("evaluation.selection") == "oracle":
            problem += ", as in the paper"
    elif any(content["published_list"] is False for content in contents) and not (
        column.clips and counts <= set(column.clips)
    ):
        listed_clips = {_listed(content) for content in contents}
        if None in listed_clips:
            problem = f"stand-in: {shown} clips, not those of the published list"
        else:
            whole = " or ".join(map(str, sorted(filter(None, listed_clips))))
            problem = f"{shown} of the {whole} clips of the published list"
    elif column.classes and classes != {column.classes}:
        problem = f"{shown} clips in {max(classes)} classes, in the paper {column.classes}"
    elif column.clips and not counts <= set(column.clips):
        known = " or ".join(map(str, column.clips))
        problem = f"{shown} clips, in the paper {known}: other clips or a stand-in"
    elif all(content["published_list"] for content in contents) or column.clips:
        listed = all(content["published_list"] for content in contents)
        said = f"the published list, {shown} clips"
        if not listed:
            said = f"{shown} clips, as many as in the paper"
        elif len(column.clips) > 1:
            said += f" (the paper says {column.clips[0]})"
        if not changed:
            return {"comparable": True, "clips": said}
        problem = f"{said}, but at another size or with other settings"
    else:
        problem = f"{shown} clips, and no published list to check them against"
    return {"comparable": False, "clips": f"{problem}: {NOT_COMPARABLE}"}


def _clips(content: Mapping[str, Any], column: Column) -> int:
    if column.database is None:
        return int(content["clips"])
    part = content["databases"].get(column.database)
    return 0 if part is None else sum(next(iter(part["seeds"].values()))["clips"])


def _listed(content: Mapping[str, Any]) -> int | None:
    """Return the length of the published list that all clips of a result are of; None if none."""
    folds = content.get("folds") or {}
    if not folds.get("listed") or folds.get("found") != content["clips"]:
        return None
    return int(folds["listed"])


def _overall(columns: Sequence[Mapping[str, Any]]) -> str:
    """Return the standing of the whole table: the worst of its columns."""
    there = [each for each in columns if each["clips"] != NO_RESULT] or columns
    worst = [each["clips"] for each in there if not each["comparable"]]
    return "; ".join(dict.fromkeys(worst or [each["clips"] for each in there]))


def _choices(plan: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    experiment = plan.experiment
    results: dict[str, dict[str, Result]] = {column.name: {} for column in plan.columns}
    for each in outcomes:
        if each.result is not None:
            results[each.cell.column.name][each.cell.row] = each.result
    return [
        judge_choice(choice, name, found, experiment.metrics[0])
        for choice in experiment.choices
        for name, found in results.items()
    ]


def _cell(outcome: Outcome, plan: Plan, out: Path) -> dict[str, Any]:
    cell, result, metrics = outcome.cell, outcome.result, plan.experiment.metrics
    shown: dict[str, Any] = {
        "row": cell.row,
        "column": cell.column.name,
        "reason": outcome.reason,
        "paper": {name: _published(value) for name, value in cell.paper.items()},
        "scores": {},
        "runs": {},
        "pooled": {},
        "baselines": {},
        "clips": None,
        "seeds": None,
        "folder": None,
    }
    if result is None:
        return shown
    content, database = result.content, cell.column.database
    pooled = content["pooled"] if database is None else content["databases"].get(database)
    if pooled is None:
        return shown | {"reason": f"no clip of {database} was tested on"}
    part = pooled
    if plan.experiment.scoring == "mean_over_folds" and database is None:
        part = content["mean_over_folds"]
    if database is None:
        shown["baselines"] = {
            name: {metric: scores[metric] for metric in metrics}
            for name, scores in content["baselines"].items()
        }
    return shown | {
        "scores": _spreads(part, metrics),
        "runs": {
            seed: {metric: run[metric] for metric in metrics} for seed, run in part["seeds"].items()
        },
        "pooled": _spreads(pooled, metrics),
        "clips": _clips(content, cell.column),
        "subjects": content["subjects"],
        "seeds": len(content["config"]["seeds"]),
        "clip_list": content["clip_list"],
        "published_list": content["published_list"],
        "folds": content["folds"],
        "refused_synthetic": sum(
            each["refused_synthetic"] for each in content["training"].values()
        ),
        "folder": str(result.folder.resolve().relative_to(out.resolve())),
    }


def _spreads(part: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    """Return mean and deviation over the seeds, and the deviation over the folds if it is known."""
    folds = part.get("deviation_over_folds", {})
    return {
        metric: {"mean": part["mean"][metric], "deviation": part["deviation"][metric]}
        | ({"deviation_over_folds": folds[metric]} if folds else {})
        for metric in metrics
    }


def _notes(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what must be known of the results, and of which columns where it is not of all."""
    found: dict[str, dict[str, None]] = {}
    refused: list[int] = []
    there: dict[str, None] = {}
    for each in outcomes:
        if each.result is None:
            continue
        content, column = each.result.content, each.cell.column.name
        there[column] = None
        if content["pretrained_on"]["samples"]:
            parts = content["training"].values()
            refused.append(sum(part["refused_synthetic"] for part in parts))
        # Their number differs between cells: one line covers all.
        alike = {**content, "pretrained_on": {**content["pretrained_on"], "samples": 0}}
        for note in notes_of(alike):
            found.setdefault(note, {})[column] = None
    notes = [
        note if len(columns) == len(there) else f"{', '.join(columns)}: {note}"
        for note, columns in found.items()
    ]
    if refused:
        notes.append(
            f"synthetic samples refused in a cell, in all folds and runs together, as they descend"
            f" from the people tested there: {min(refused)} to {max(refused)}"
        )
    return notes


def _published(value: Published) -> dict[str, float | None]:
    if isinstance(value, tuple):
        return {"mean": value[0], "deviation": value[1]}
    return {"mean": value, "deviation": None}


def _started_from(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the initial weights of each recognizer; random ones are a departure."""
    found: dict[str, set[str]] = {}
    for each in outcomes:
        if each.result is not None:
            content = each.result.content
            weights = {part["weights"] for part in content["training"].values()}
            begun = {text.partition(", then pretrained")[0] for text in weights}
            found.setdefault(content["recognizer"], set()).update(begun)
    return [f"{name} started from: {'; '.join(sorted(weights))}" for name, weights in found.items()]
