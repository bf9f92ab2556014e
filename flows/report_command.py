"""Write a report with progress, and format its findings for terminal and Prefect."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from miex.flows.terminal import Terminal
from miex.pipeline.reports.report import write_report

_NUMBERS = "numbers.json"
"""File beside a report with all of its numbers."""

_STYLES = {"fault": "bold red", "warning": "yellow", "note": "cyan", "good": "green"}


def run_report(
    terminal: Terminal, targets: Sequence[Path], against: Path | None, out: Path | None
) -> Path:
    """Write a report and print its findings.

    Returns:
        The HTML file.

    Raises:
        FileNotFoundError: A target is neither a finished dataset nor a pool.
        ValueError: A target is damaged.
    """
    with terminal.stages() as stages:
        path = write_report(targets, out, against=against, on_stage=stages.samples)
    for finding in read_findings(path):
        style = _STYLES.get(finding["severity"], "none")
        terminal.say(f"[{style}]{finding['severity']:8}[/]{escape(finding['text'])}")
    terminal.say(f"report: {escape(str(path))}")
    return path


def read_findings(report: Path) -> list[dict[str, Any]]:
    """Return the findings of a report in its order; none if its numbers are missing.

    Args:
        report: The HTML file.

    Returns:
        Dictionaries with `severity` (fault, warning, note, good) and `text`.
    """
    numbers = report.parent / _NUMBERS
    if not numbers.is_file():
        return []
    findings: list[dict[str, Any]] = json.loads(numbers.read_text("utf-8")).get("findings", [])
    return findings


def findings_markdown(report: Path, findings: Sequence[dict[str, Any]]) -> str:
    """Return findings as GitHub-flavoured markdown, with the path of the report."""
    lines = [f"# Report: `{report}`", ""]
    if not findings:
        return "\n".join([*lines, "No findings that need attention."])
    lines += ["| | finding |", "|---|---|"]
    # A vertical bar would end the cell.
    cells = [(finding["severity"], finding["text"].replace("|", "\\|")) for finding in findings]
    return "\n".join([*lines, *(f"| {severity} | {text} |" for severity, text in cells)])
