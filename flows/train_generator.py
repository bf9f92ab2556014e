"""Define the Prefect flow `train-generator`: from a training set to the weights of a generator.

python flows/train_generator.py run -p data=training.parquet -p out=runs/gan
python flows/train_generator.py serve                      # then, in another shell:
prefect deployment run train-generator/local -p data=training.parquet --watch

A run that was killed resumes from its last state when it is started again with the same parameters.
"""

from collections.abc import Mapping
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_image_artifact, create_markdown_artifact

from miex.flows.artifacts import StageArtifacts, preview
from miex.flows.entry import parameters_of, retried, run_or_serve
from miex.generators.ganimation.monitor import GRIDS
from miex.generators.ganimation.training import TrainingResult
from miex.generators.ganimation.training import train as train_network
from miex.generators.ganimation.training_config import TrainingConfig


@flow(name="train-generator", log_prints=True)
@parameters_of(TrainingConfig)
def train_generator(config: TrainingConfig, out: Path = Path("runs/generator")) -> str:
    """Train GANimation's generator, or resume a training that was interrupted.

    Args:
        config: Every flag of `TrainingConfig`, as a parameter each.
        out: Folder of the run.

    Returns:
        The weights.
    """
    result = train(config, out.resolve())
    publish(config, result)
    return str(result.weights)


@retried
def train(config: TrainingConfig, out: Path) -> TrainingResult:
    """Train in this process, with progress."""
    artifacts = StageArtifacts()

    def show(stage: str, done: int, total: int, _losses: Mapping[str, float]) -> None:
        artifacts.update(stage, done, total)

    return train_network(config, out, show)


def publish(config: TrainingConfig, result: TrainingResult) -> None:
    """Publish the progress, the errors of the AUs and the last samples."""
    rows = {
        "Weights": f"`{result.weights}`",
        "Steps": f"{result.step} of {result.total}",
        "Recipe": config.recipe.name,
        "Images a second": f"{result.images_per_second:.0f}",
        "Squared error of the AUs of held-out identities": f"{result.au_error:.3f}",
        "The same of the mean AUs": f"{result.au_error_constant:.3f}",
    }
    lines = ["# Generator", "", "| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]
    create_markdown_artifact(key="generator", markdown="\n".join(lines))
    grids = sorted((result.weights.parent / GRIDS).glob("*.png"))
    if grids:
        create_image_artifact(
            image_url=preview(grids[-1]), key="generator-samples", description=f"Whole: {grids[-1]}"
        )


if __name__ == "__main__":
    run_or_serve(train_generator)
