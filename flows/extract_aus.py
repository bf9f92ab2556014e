"""Define the Prefect flow `extract-aus`: from annotated clips to a pool of AU pairs.

python flows/extract_aus.py run -p clips=samples -p source=early_mae -p out=early.parquet
python flows/extract_aus.py serve                          # then, in another shell:
prefect deployment run extract-aus/local -p clips=casme2:/data/CASME2 --watch
"""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact

from miex.au_sources.extraction import Extraction
from miex.flows.artifacts import ProgressArtifact
from miex.flows.entry import parameters_of, retried, run_or_serve
from miex.pipeline.aus.extraction import AUExtractionConfig
from miex.pipeline.aus.extraction import extract_aus as extract_pool


@flow(name="extract-aus", log_prints=True)
@parameters_of(AUExtractionConfig)
def extract_aus(job: AUExtractionConfig, out: Path = Path("out/aus.parquet")) -> str:
    """Extract the AU pairs of a database of clips.

    Args:
        job: Every flag of `AUExtractionConfig`, as a parameter each.
        out: The pool (.parquet); an account of every clip is written beside it.

    Returns:
        The pool.
    """
    extraction = extract(job, out.resolve())
    create_table_artifact(key="aus", table=count_rows(extraction))
    return str(out.resolve())


@retried
def extract(config: AUExtractionConfig, out: Path) -> Extraction:
    """Read every clip, and write the pool and its account."""
    progress = ProgressArtifact("clips", "Clips measured")
    extraction = extract_pool(config, out, progress.update)
    print(f"{len(extraction.pool)} AU pairs, {len(extraction.rejections)} left out: {out}")
    return extraction


def count_rows(extraction: Extraction) -> list[dict[str, Any]]:
    """Return table rows of what was counted, and of every reason why a clip was left out."""
    counted = [{"what": name, "count": count} for name, count in extraction.counts.items()]
    left_out = [
        {"what": f"left out: {reason}", "count": count}
        for reason, count in extraction.reasons.items()
    ]
    return counted + left_out


if __name__ == "__main__":
    run_or_serve(extract_aus)
