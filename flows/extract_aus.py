"""The Prefect flow `extract-aus`: from annotated clips to a pool of AU pairs.

python flows/extract_aus.py run -p clips=samples -p source=early_mae -p out=early.parquet
python flows/extract_aus.py serve                          # then, in another shell:
prefect deployment run extract-aus/local -p clips=casme2:/data/CASME2 --watch
"""

from pathlib import Path
from typing import Any, Literal

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from miex.au_sources.extraction import Extraction
from miex.datasets.config import build
from miex.flows.artifacts import ProgressArtifact
from miex.flows.entry import is_transient, run_or_serve
from miex.pipeline.aus.extraction import AUExtractionConfig
from miex.pipeline.aus.extraction import extract_aus as extract_pool


@flow(name="extract-aus", log_prints=True)
def extract_aus(
    out: Path = Path("out/aus.parquet"),
    clips: str = "samples",
    source: Literal["real_mie", "early_mae"] = "real_mie",
    estimator: str = "landmarks",
    calibration: str = "shipped",
    drop_weak: bool = False,
    device: str = "auto",
    download: bool = False,
    person_calibration: bool = False,
    settings: dict[str, Any] | None = None,
) -> str:
    """Extracts the AU pairs of a database of clips.

    Args:
        out: The pool; an account of every clip is written beside it.
        clips: The database, NAME:PATH, or samples.
        source: real_mie (annotated onset and apex) or early_mae (early macro-frames).
        estimator: NAME or NAME:MODEL, or facs for the human codes of the annotation.
        calibration: shipped, none, or a file of `miex calibrate`.
        drop_weak: Leave AUs unmeasured whose map is weak.
        device: Where the estimator runs.
        download: Whether it may download its weights.
        person_calibration: Measure videos relative to the face at rest, where it can.
        settings: How the source reads: {"window": 5, "relative": true, "draws": 3, ...}, fields of
            `ExtractionConfig`, `EarlyMaeConfig` or `FacsConfig`.

    Returns:
        The pool.
    """
    fields = AUExtractionConfig.model_fields
    values = {name: value for name, value in locals().items() if name in fields}
    config = build(AUExtractionConfig, values | (settings or {}))
    extraction = extract(config, out.resolve())
    create_table_artifact(key="aus", table=count_rows(extraction))
    return str(out.resolve())


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def extract(config: AUExtractionConfig, out: Path) -> Extraction:
    """Reads every clip and writes the pool with its account."""
    progress = ProgressArtifact("clips", "Clips measured")
    extraction = extract_pool(config, out, progress.update)
    print(f"{len(extraction.pool)} AU pairs, {len(extraction.rejections)} left out: {out}")
    return extraction


def count_rows(extraction: Extraction) -> list[dict[str, Any]]:
    """What was counted, and every reason for which something was left out, as table rows."""
    counted = [{"what": name, "count": count} for name, count in extraction.counts.items()]
    left_out = [
        {"what": f"left out: {reason}", "count": count}
        for reason, count in extraction.reasons.items()
    ]
    return counted + left_out


def main() -> None:
    """Runs the flow, or serves a deployment of it."""
    run_or_serve(extract_aus)


if __name__ == "__main__":
    main()
