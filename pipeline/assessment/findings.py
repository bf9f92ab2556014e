"""Warnings and notes that qualify the results of an assessment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def list_findings(
    document: Mapping[str, Any], labelled_by: str | None, permitted: Sequence[str]
) -> list[dict[str, str]]:
    """Return the warnings and notes on an assessment, the most severe first.

    Args:
        document: The content of `assessment.json`.
        labelled_by: Estimator that labelled the training set from which the faces come, or None.
        permitted: Estimators that measure although they labelled training data.

    Returns:
        Entries with a `severity` (`fault`, `warning` or `note`) and a `text`.
    """
    found = []

    def add(severity: str, text: str) -> None:
        found.append({"severity": severity, "text": text})

    first = document["estimators"][0]
    generators = document["generators"]
    trained = [one for one in generators if one["name"] != "warp"]
    if permitted:
        add(
            "fault",
            f"{', '.join(permitted)} labelled the training data and also measures here: the "
            "fidelity of a trained generator is too high and proves nothing.",
        )
    if first["estimator"] == "landmarks":
        add(
            "warning",
            "The estimator landmarks inverts the motion table with which warp moves a face: the "
            "fidelity of warp is too high.",
        )
    unknown = [one["label"] for one in trained if not one["labelled_by"] and not labelled_by]
    if unknown:
        add(
            "warning",
            f"The estimator that labelled the training data of {', '.join(unknown)} is not known; "
            f"if it was {first['estimator']}, the fidelity is too high. Name it with --trained-on.",
        )
    if trained and not labelled_by:
        add(
            "warning",
            "The faces come from a face table and not from the held-out split of a training set: a "
            "trained generator may have been trained on these identities.",
        )
    known = [row for row in document["agreement"] if row["correlation"] is not None]
    if not known:
        add(
            "warning",
            f"No calibration compares {first['estimator']} with a second estimator: every AU that "
            "it measures is included in averages, whether or not it is reliable.",
        )
    out = [row["au"] for row in document["agreement"] if row["measured"] and not row["agrees"]]
    if out:
        add(
            "note",
            "Excluded from averages because two estimators disagree on real faces: "
            f"{', '.join(out)}.",
        )
    missing = [row["au"] for row in document["agreement"] if not row["measured"]]
    if missing:
        add("note", f"Not measured by {first['estimator']}: {', '.join(missing)}.")
    for one in generators:
        for name in one["motion"]["null_aus"]:
            add("warning", f"{one['label']}: {name} alone often causes no motion.")
        lost = max(each["lost"] for each in one["fidelity"])
        if lost > 0.01:
            add(
                "warning",
                f"{one['label']}: the estimator finds no face in {100 * lost:.1f} % of the frames.",
            )
    order = ("fault", "warning", "note")
    ranks = np.argsort([order.index(one["severity"]) for one in found], kind="stable")
    return [found[rank] for rank in ranks]
