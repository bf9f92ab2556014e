"""Publish artifacts of a flow run in Prefect: progress, counts, contact sheet, paths."""

import base64
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from PIL import Image
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from miex.datasets.storage import exists, local_file, shown
from miex.flows.report_command import findings_markdown, read_findings
from miex.pipeline.recognition.results import PRIMARY, Result

PREVIEW_WIDTH = 480
"""Width in pixels; the preview is stored inside the artifact, so it must be small."""


class ProgressArtifact:
    """Show a progress bar on the graph of the flow run, updated at most once a second."""

    def __init__(self, key: str, description: str) -> None:
        created = create_progress_artifact(0.0, key=key, description=description)
        # For asynchronous callers, Prefect returns a coroutine instead.
        self._id = cast(UUID, created)
        self._updated = time.monotonic()

    def update(self, done: int, total: int) -> None:
        """Set the progress to `done` of `total`."""
        now = time.monotonic()
        # Every update is a request to the server.
        if done < total and now - self._updated < 1:
            return
        self._updated = now
        update_progress_artifact(self._id, 100.0 * done / max(total, 1))


class StageArtifacts:
    """Show a progress bar for each stage of a job.

    Args:
        prefix: First part of the keys of the bars, for a flow of several jobs.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._bars: dict[str, ProgressArtifact] = {}

    def update(self, what: str, done: int, total: int) -> None:
        """Set the progress of a stage to `done` of `total`."""
        stage = what.partition(": ")[0]
        if stage not in self._bars:
            name = f"{self._prefix} {stage}".strip().lower()
            key = "".join(c if c.isascii() and c.isalnum() else "-" for c in name).strip("-")
            self._bars[stage] = ProgressArtifact(key, stage)
        self._bars[stage].update(done, total)

    def step(self, step: int, steps: int, _terms: Mapping[str, float]) -> None:
        """Set the progress of training."""
        self.update("training", step, steps)


def publish_scores(result: Result) -> None:
    """Publish the scores of an evaluation beside its baselines."""
    content = result.content
    rows = [
        {"clips of": name} | {score: round(part["mean"][score], 4) for score in PRIMARY}
        for name, part in ({"all": content["pooled"]} | content["databases"]).items()
    ]
    rows += [
        {"clips of": name} | {score: round(part[score], 4) for score in PRIMARY}
        for name, part in content["baselines"].items()
    ]
    create_table_artifact(
        key="scores",
        table=rows,
        description=f"{content['recognizer']} by {content['protocol']}: {result.folder}",
    )


def publish(out: Path, manifest: dict[str, Any]) -> None:
    """Publish paths, counts, report and contact sheet of a finished dataset."""
    create_markdown_artifact(key="dataset", markdown=paths_markdown(out, manifest))
    create_table_artifact(key="counts", table=count_rows(manifest))
    publish_report(out / "report" / "index.html")
    sheet = out / "sheet.png"
    if exists(sheet):
        create_image_artifact(
            image_url=preview(local_file(sheet)),
            key="contact-sheet",
            description=f"Whole: {shown(sheet)}",
        )


def publish_report(path: Path) -> None:
    """Publish the findings of a report and its path."""
    create_markdown_artifact(
        key="report", markdown=findings_markdown(path, read_findings(local_file(path)))
    )


def paths_markdown(out: Path, manifest: dict[str, Any]) -> str:
    """Return the parts of a dataset with their paths, as GitHub-flavoured markdown."""
    counts = manifest["counts"]
    parts = {
        "Shards": out / "data",
        "Manifest": out / "manifest.json",
        "Dataset card": out / "README.md",
        "Report": out / "report" / "index.html",
        "Contact sheet": out / "sheet.png",
    }
    lines = [
        f"# {manifest['name']}: {counts['written']} samples, {counts['identities']} identities",
        "",
        "| part | path |",
        "|---|---|",
        *(f"| {part} | `{shown(path)}` |" for part, path in parts.items()),
        "",
        f"Check it with `miex verify {shown(out)}`.",
    ]
    return "\n".join(lines)


def count_rows(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every count of the manifest as a row, one for each class and each source."""
    rows: list[dict[str, Any]] = []
    for what, count in manifest["counts"].items():
        if isinstance(count, dict):
            rows += [{"what": f"{what} {key}", "count": value} for key, value in count.items()]
        else:
            rows.append({"what": what, "count": count})
    return rows


def preview(sheet: Path) -> str:
    """Return a contact sheet as a small ``data:`` address that the interface shows."""
    with Image.open(sheet) as image:
        small = image.convert("RGB")
        small.thumbnail((PREVIEW_WIDTH, 4 * PREVIEW_WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=70)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
