"""The Prefect flow `report`: what datasets or pools hold, as one HTML file.

python flows/report.py run -p targets=out/miex
python flows/report.py serve                               # then, in another shell:
prefect deployment run report/local -p targets=out/miex --watch
"""

from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from miex.flows.artifacts import publish_report
from miex.flows.entry import is_transient, run_or_serve
from miex.pipeline.reports.report import write_report


@flow(name="report", log_prints=True)
def report(targets: list[Path] | Path, against: Path | None = None, out: Path | None = None) -> str:
    """Writes AU statistics, quality, findings and a gallery into one HTML file.

    Args:
        targets: Datasets that `miex synthesize` made, or pools of AU pairs (.parquet).
        against: Another dataset or pool to compare with.
        out: Folder of the report; report in the dataset, or NAME-report beside the first of
            several targets.

    Returns:
        The HTML file.
    """
    path = write(targets, out, against)
    publish_report(path)
    return str(path)


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def write(targets: list[Path] | Path, out: Path | None, against: Path | None) -> Path:
    """Writes the report."""
    path = write_report(targets, out, against=against).resolve()
    print(f"report: {path}")
    return path


def main() -> None:
    """Runs the flow, or serves a deployment of it."""
    run_or_serve(report)


if __name__ == "__main__":
    main()
