"""Define the Prefect flow `faces-download`: from EmotionNet's lists to photographs.

python flows/faces_download.py run -p lists='["urls.txt"]' -p out=emotionnet
python flows/faces_download.py serve                       # then, in another shell:
prefect deployment run faces-download/local -p lists='["urls.txt"]' --watch
"""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact

from miex.datasets.config import build
from miex.datasets.faces.emotionnet_download import (
    DownloadConfig,
    DownloadSummary,
    download_emotionnet,
)
from miex.flows.artifacts import ProgressArtifact
from miex.flows.entry import retried, run_or_serve, telling_failures


@flow(name="faces-download", log_prints=True)
@telling_failures()
def faces_download(
    lists: list[Path],
    out: Path = Path("emotionnet"),
    retry_failed: bool = False,
    settings: dict[str, Any] | None = None,
) -> str:
    """Download EmotionNet's images with limited requests per host; resume if interrupted.

    Args:
        lists: EmotionNet's lists of image URLs.
        out: Folder; the images are written to OUT/images.
        retry_failed: Request links that failed before again.
        settings: Fields of the download: {"threads": 8, "per_host": 2}.

    Returns:
        The spec of the photographs, for the flow `faces`.
    """
    config = build(DownloadConfig, settings)
    summary = download(lists, out.resolve(), config, retry_failed)
    rows = [
        {"what": "downloaded", "count": summary.downloaded},
        {"what": "already there", "count": summary.already_there},
    ]
    rows += [
        {"what": f"failed: {reason}", "count": count} for reason, count in summary.failed.items()
    ]
    create_table_artifact(key="links", table=rows, description=str(out))
    return f"emotionnet:{out.resolve()}?lists={lists[0]}"


@retried
def download(
    lists: list[Path], out: Path, config: DownloadConfig, retry_failed: bool
) -> DownloadSummary:
    """Request every link that has no image yet."""
    progress = ProgressArtifact("download", "Links requested")
    summary = download_emotionnet(
        lists, out, config, lambda done, total, _: progress.update(done, total), retry_failed
    )
    failed = sum(summary.failed.values())
    print(f"{summary.downloaded} images downloaded, {failed} of {summary.links} links failed")
    return summary


if __name__ == "__main__":
    run_or_serve(faces_download)
