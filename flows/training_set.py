"""Define the Prefect flow `training-set`: photographs with AUs, from which a generator learns.

python flows/training_set.py run -p faces=~/photographs -p out=training.parquet
python flows/training_set.py serve                         # then, in another shell:
prefect deployment run training-set/local -p faces=celeba:/data/celeba --watch
"""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_image_artifact, create_table_artifact

from miex.datasets.quantity import quantity
from miex.flows.artifacts import StageArtifacts, preview
from miex.flows.entry import parameters_of, retried, run_or_serve
from miex.generators.ganimation.training_set import SPLITS, TrainingSet
from miex.pipeline.generator_training.config import TrainingSetConfig
from miex.pipeline.generator_training.training_set import make_training_set
from miex.pipeline.reports.training_sheet import training_sheet


@flow(name="training-set", log_prints=True)
@parameters_of(TrainingSetConfig)
def training_set(
    config: TrainingSetConfig,
    faces: str = "samples",
    out: Path = Path("training.parquet"),
    workers: int | None = None,
) -> str:
    """Make a generator's training set: crops, landmarks and AUs, split by identity.

    Args:
        config: Every flag of `TrainingSetConfig`, as a parameter each.
        faces: Photographs: samples, a folder, celeba:PATH, emotionnet:PATH; or a face table.
        out: The training set (.parquet).
        workers: Number of processes of the face preparation.

    Returns:
        The training set.
    """
    made = make(config, faces, out.resolve(), workers)
    create_table_artifact(key="training-set", table=count_rows(made), description=str(made.path))
    sheet = training_sheet(made, made.path.with_suffix(".png"))
    create_image_artifact(
        image_url=preview(sheet), key="training-sheet", description=f"Whole: {sheet}"
    )
    return str(made.path)


@retried
def make(config: TrainingSetConfig, faces: str, out: Path, workers: int | None) -> TrainingSet:
    """Prepare the faces, measure their AUs, and write the training set."""
    progress = StageArtifacts()
    made = make_training_set(faces, out, config, workers=workers, on_progress=progress.update)
    print(f"{quantity(len(made), 'photograph')}: {made.path}")
    return made


def count_rows(made: TrainingSet) -> list[dict[str, Any]]:
    """Return the size of every split, which AUs are trusted, and what was left out."""
    notes = made.notes
    rows: list[dict[str, Any]] = [
        {"what": f"{split}: photographs", "value": str(notes.counts[split]["photographs"])}
        for split in SPLITS
    ]
    rows += [
        {"what": one.au, "value": "trusted" if one.trusted else f"not trusted: {one.reason}"}
        for one in notes.agreement
    ]
    rows += [
        {"what": f"left out: {reason}", "value": str(count)}
        for reason, count in notes.rejections.items()
    ]
    return rows


if __name__ == "__main__":
    run_or_serve(training_set)
