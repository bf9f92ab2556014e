"""Write the table of an experiment as JSON, CSV, Markdown, and one HTML page."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miex.datasets.files import whole_file
from miex.pipeline.reports.results_page import BASELINES, PAGE
from miex.pipeline.reports.templates import load_template

_TEMPLATE = Path(__file__).with_name("page.html")

_TABLE = "table.json"

METRIC_NAMES = {"uf1": "UF1", "uar": "UAR", "accuracy": "Accuracy"}

_CSV = (
    "row",
    "column",
    "metric",
    "mean",
    "deviation",
    "pooled_mean",
    "pooled_deviation",
    "paper_mean",
    "paper_deviation",
    "majority",
    "chance",
    "clips",
    "seeds",
    "comparable",
    "standing",
    "reason",
    "folder",
)


def write_table(table: Mapping[str, Any], out: Path) -> Path:
    """Write a table in every form.

    Args:
        table: From `experiment_table.make_table`.
        out: Folder of the experiment.

    Returns:
        The page.

    Raises:
        DiskFullError: The disk is full.
    """
    texts = {
        _TABLE: json.dumps(table, indent=2) + "\n",
        "table.csv": as_csv(table),
        "table.md": as_markdown(table),
        PAGE: as_page(table),
    }
    for name, text in texts.items():
        with whole_file(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return out / PAGE


def as_csv(table: Mapping[str, Any]) -> str:
    """Return one line for each cell and metric."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV, lineterminator="\n")
    writer.writeheader()
    columns = {column["name"]: column for column in table["columns"]}
    for cell in table["cells"]:
        column = columns[cell["column"]]
        for metric in table["metrics"]:
            score, paper = cell["scores"].get(metric, {}), cell["paper"].get(metric, {})
            both = cell["pooled"].get(metric, {})
            baselines = cell["baselines"]
            writer.writerow(
                {name: cell[name] for name in ("row", "column", "clips", "seeds")}
                | {"metric": metric, "reason": cell["reason"], "folder": cell["folder"]}
                | {"mean": score.get("mean"), "deviation": score.get("deviation")}
                | {"pooled_mean": both.get("mean"), "pooled_deviation": both.get("deviation")}
                | {"paper_mean": paper.get("mean"), "paper_deviation": paper.get("deviation")}
                | {name: baselines.get(name, {}).get(metric) for name in ("majority", "chance")}
                | {"comparable": column["comparable"], "standing": column["clips"]}
            )
    return text.getvalue()


def as_markdown(table: Mapping[str, Any]) -> str:
    """Return a table for each metric, ours and the paper's side by side."""
    names = [column["name"] for column in table["columns"]]
    lines = [f"# {table['title']} ({table['standing']})", "", _source(table), ""]
    for metric in table["metrics"]:
        what = "ours, the paper's" + (", ours pooled" if averaged(table) else "")
        lines += [f"## {METRIC_NAMES[metric]}: {what} ({table['standing']})", ""]
        heads = [f"{column['name']} ({column['clips']})" for column in table["columns"]]
        lines += [_line(["", *heads]), _line(["---"] * (1 + len(heads)))]
        for row in table["rows"]:
            cells = [_find(table, row, name) for name in names]
            lines.append(_line([row, *(_three(table, cell, metric) for cell in cells)]))
        for baseline in _baselines(table):
            shown = [_baseline(table, name, baseline, metric) for name in names]
            lines.append(_line([baseline.replace("_", " "), *shown]))
        lines.append("")
    for heading, entries in (
        ("What the scores say", table["claims"]),
        ("Not as in the paper", table["departures"]),
        ("Cells without a score", _reasons(table)),
        ("Notes", table["notes"]),
    ):
        if entries:
            lines += [f"## {heading} ({table['standing']})", ""]
            lines += [f"- {entry}" for entry in entries]
            lines.append("")
    return "\n".join(lines)


def as_page(table: Mapping[str, Any]) -> str:
    """Return one self-contained HTML page."""
    filters = {"spread": spread, "published": published, "pooled": pooled}
    return load_template(_TEMPLATE, **filters).render(
        table=table,
        averaged=averaged(table),
        source=_source(table),
        comparable=all(column["comparable"] for column in table["columns"]),
        metric_names=METRIC_NAMES,
        find=lambda row, column: _find(table, row, column),
        printed=lambda column, metric: any(
            metric in cell["paper"] for cell in table["cells"] if cell["column"] == column
        ),
        baselines={name: BASELINES.get(name, "") for name in _baselines(table)},
        baseline=lambda column, name, metric: _baseline(table, column, name, metric),
        reasons=_reasons(table),
        page=PAGE,
        colours=(),
    )


def spread(cell: Mapping[str, Any] | None, metric: str) -> str:
    """Return our score with its deviation over the seeds; a dash where there is none."""
    return _number((cell or {"scores": {}})["scores"].get(metric))


def pooled(cell: Mapping[str, Any] | None, metric: str) -> str:
    """Return our score of the counts of all folds together."""
    return _number((cell or {"pooled": {}})["pooled"].get(metric))


def averaged(table: Mapping[str, Any]) -> bool:
    """Return whether the table's scores are means over folds; pooled ones stand beside them."""
    return bool(table["scoring"] == "mean_over_folds")


def published(cell: Mapping[str, Any] | None, metric: str) -> str:
    """Return the paper's number; a dash where it prints none."""
    return _number((cell or {"paper": {}})["paper"].get(metric))


def _three(table: Mapping[str, Any], cell: Mapping[str, Any] | None, metric: str) -> str:
    parts = [spread(cell, metric), published(cell, metric)]
    return ", ".join([*parts, pooled(cell, metric)] if averaged(table) else parts)


def _number(part: Mapping[str, Any] | None) -> str:
    if part is None:
        return "-"
    deviation = part["deviation"]
    return f"{part['mean']:.3f}" + ("" if deviation is None else f" ± {deviation:.3f}")


def _source(table: Mapping[str, Any]) -> str:
    return f"{table['place']} of {table['paper']}" if table["place"] else str(table["paper"])


def _find(table: Mapping[str, Any], row: str, column: str) -> Mapping[str, Any] | None:
    for cell in table["cells"]:
        if (cell["row"], cell["column"]) == (row, column):
            found: Mapping[str, Any] = cell
            return found
    return None


def _baseline(table: Mapping[str, Any], column: str, name: str, metric: str) -> str:
    """Return whether all results of a column are on the same clips, or all numbers are given."""
    found = {
        f"{cell['baselines'][name][metric]:.3f}"
        for cell in table["cells"]
        if cell["column"] == column and name in cell["baselines"]
    }
    return " or ".join(sorted(found)) or "-"


def _baselines(table: Mapping[str, Any]) -> list[str]:
    """Return names of the baselines that the results have."""
    return list(dict.fromkeys(name for cell in table["cells"] for name in cell["baselines"]))


def _reasons(table: Mapping[str, Any]) -> list[str]:
    """Return why cells are empty, each reason once."""
    cells: dict[str, list[str]] = {}
    for cell in table["cells"]:
        if not cell["scores"]:
            cells.setdefault(cell["reason"] or "not computed yet", []).append(
                f"{cell['row']} / {cell['column']}"
            )
    return [f"{'; '.join(names)}: {reason}" for reason, names in cells.items()]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
