"""Write the page of a run of the chain of MiE-X: scores, dataset, stages."""

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miex.datasets.files import whole_file
from miex.pipeline.experiments.chain_inputs import Settled
from miex.pipeline.reports.results_page import PAGE
from miex.pipeline.reports.templates import load_template

_TEMPLATE = Path(__file__).with_name("chain.html")

_PAPER = {
    ("branches", "clips alone"): 0.436,
    ("branches", "MiE-X alone"): 0.477,
    ("branches", "MiE-X, then clips"): 0.507,
    ("apex_me", "clips alone"): 0.418,
    ("apex_me", "MiE-X alone"): 0.452,
    ("apex_me", "MiE-X, then clips"): 0.469,
}
"""UF1 of table 1 of MiE-X (Liu et al., ECCV 2022), on all 442 clips and in 3 folds."""

_SHEET_BYTES = 6_000_000
"""A larger contact sheet is linked, not embedded."""


def write_chain_page(out: Path, stages: Sequence[Mapping[str, Any]], settled: Settled) -> Path:
    """Write one self-contained HTML page.

    Args:
        out: Folder of the run.
        stages: Name, title, reason for leaving it out, and record of every stage.
        settled: What the run works on.

    Returns:
        The page.

    Raises:
        DiskFullError: The disk is full.
    """
    facts = {stage["name"]: stage["record"]["facts"] for stage in stages if stage["record"]}
    dataset = facts.get("synthesize")
    text = load_template(_TEMPLATE, duration=_duration).render(
        settled=settled,
        colours=(),
        stages=[_stage(stage, out) for stage in stages],
        scores=[
            row | {"paper": _paper(row)} for row in facts.get("evaluate", {}).get("scores", ())
        ],
        dataset=dataset,
        links=_links(facts, out),
        sheet=None if dataset is None else _sheet(Path(dataset["output"])),
        complete=all(stage["record"] or stage["left_out"] for stage in stages),
    )
    path = out / PAGE
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _stage(stage: Mapping[str, Any], out: Path) -> dict[str, Any]:
    record = stage["record"]
    facts = {} if record is None else dict(record["facts"])
    output = facts.pop("output", None)
    facts.pop("scores", None)
    for name in ("sha256", "fingerprint"):
        if name in facts:
            facts[name] = facts[name][:12]
    return {
        "title": stage["title"],
        "left_out": stage["left_out"],
        "seconds": None if record is None else record["seconds"],
        "output": None if output is None else os.path.relpath(output, out),
        "facts": {name: _said(value) for name, value in facts.items()},
    }


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(each)}" for name, each in value.items()) or "nothing"
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _paper(row: Mapping[str, Any]) -> float | None:
    """Return the paper's UF1 beside which a row may stand: that of all 442 clips."""
    if row["clips"] != 442:
        return None
    return _PAPER.get((row["recognizer"], row["trained on"]))


def _links(facts: Mapping[str, Any], out: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    if "synthesize" in facts:
        dataset = Path(facts["synthesize"]["output"])
        found["report of the dataset"] = os.path.relpath(dataset / "report" / PAGE, out)
        found["dataset card"] = os.path.relpath(dataset / "README.md", out)
    if "evaluate" in facts:
        found["all evaluations"] = os.path.relpath(facts["evaluate"]["output"], out)
    if "table" in facts:
        found["table 1 of MiE-X"] = os.path.relpath(facts["table"]["output"], out)
    return found


def _sheet(dataset: Path) -> str | None:
    path = dataset / "sheet.png"
    if not path.is_file() or path.stat().st_size > _SHEET_BYTES:
        return None
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
