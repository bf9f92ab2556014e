"""Define the Prefect flow `report`: the contents of datasets or pools as one HTML file.

python flows/report.py run -p targets=out/miex
python flows/report.py serve                               # then, in another shell:
prefect deployment run report/local -p targets=out/miex --watch
"""

from pathlib import Path

from prefect import flow

from miex.flows.artifacts import publish_report
from miex.flows.entry import retried, run_or_serve, telling_failures
from miex.pipeline.reports.report import write_report


@flow(name="report", log_prints=True)
@telling_failures()
def report(targets: list[Path] | Path, against: Path | None = None, out: Path | None = None) -> str:
    """Write AU statistics, quality, findings and a gallery into one HTML file.

    Args:
        targets: Datasets, or pools of AU pairs (.parquet).
        against: Another dataset or pool to compare with.
        out: Folder of the report. Default: report in the dataset, or NAME-report beside the first
            of several targets.

    Returns:
        The HTML file.
    """
    path = write(targets, out, against)
    publish_report(path)
    return str(path)


@retried
def write(targets: list[Path] | Path, out: Path | None, against: Path | None) -> Path:
    """Write the report, and return its file."""
    path = write_report(targets, out, against=against).resolve()
    print(f"report: {path}")
    return path


if __name__ == "__main__":
    run_or_serve(report)
