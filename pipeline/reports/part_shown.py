"""Find whether a report shows a part of a large dataset."""

from collections.abc import Iterable

from miex.pipeline.reports.evidence import Evidence, Finding


def only_a_part(evidence: Evidence) -> Iterable[Finding]:
    """Report that the statistics are those of a part of a large dataset."""
    dataset = evidence.samples.dataset
    if dataset is None:
        return
    shown, whole = len(evidence.samples), dataset.manifest["counts"]["written"]
    if shown < whole:
        text = (
            f"The statistics and pictures are those of {shown:,} of {whole:,} samples, from evenly "
            "spaced shards; the counts and `miex verify` cover all."
        )
        yield Finding("only_a_part", "note", text, shown / whole, "samples")
