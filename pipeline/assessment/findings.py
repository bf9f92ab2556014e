"""What a reader of an assessment has to know before believing it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def find(
    document: Mapping[str, Any], labelled_by: str | None, insisted: Sequence[str]
) -> list[dict[str, str]]:
    """Warnings and notes, the gravest first; each with a `severity` and a `text`."""
    found = []

    def say(severity: str, text: str) -> None:
        found.append({"severity": severity, "text": text})

    first = document["estimators"][0]
    generators = document["generators"]
    learnt = [one for one in generators if one["name"] != "warp"]
    if insisted:
        say(
            "fault",
            f"{', '.join(insisted)} labelled the training data and measures here all the same: the "
            "fidelity of a trained generator is flattered and proves nothing.",
        )
    if first["estimator"] == "landmarks":
        say(
            "warning",
            "The estimator landmarks inverts the very motion table by which warp moves a face: "
            "warp's fidelity is flattered.",
        )
    unknown = [one["label"] for one in learnt if not one["labelled_by"] and not labelled_by]
    if unknown:
        say(
            "warning",
            f"Nothing says which estimator labelled the training data of {', '.join(unknown)}; if "
            f"it was {first['estimator']}, the fidelity is flattered (--trained-on NAME).",
        )
    if learnt and not labelled_by:
        say(
            "warning",
            "The faces come from a face table, not from a training set's held-out split: whether a "
            "trained generator has seen these people is not known.",
        )
    known = [row for row in document["agreement"] if row["correlation"] is not None]
    if not known:
        say(
            "warning",
            f"No table compares {first['estimator']} with a second estimator: every AU that it "
            "measures counts, whether or not it can be trusted.",
        )
    out = [row["au"] for row in document["agreement"] if row["measured"] and not row["agrees"]]
    if out:
        say("note", f"Left out of averages, estimators disagree on real faces: {', '.join(out)}.")
    missing = [row["au"] for row in document["agreement"] if not row["measured"]]
    if missing:
        say("note", f"Not measured by {first['estimator']} at all: {', '.join(missing)}.")
    for one in generators:
        for name in one["motion"]["null_aus"]:
            say("warning", f"{one['label']}: {name} alone often moves nothing.")
        lost = max(each["lost"] for each in one["fidelity"])
        if lost > 0.01:
            say(
                "warning",
                f"{one['label']}: in {100 * lost:.1f} % of the frames no face is found any more.",
            )
    order = ("fault", "warning", "note")
    ranks = np.argsort([order.index(one["severity"]) for one in found], kind="stable")
    return [found[rank] for rank in ranks]
