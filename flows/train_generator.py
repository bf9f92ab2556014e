"""Define the Prefect flow `train-generator`: from a training set to the weights of a generator.

python flows/train_generator.py run -p data=training.parquet -p out=runs/gan
python flows/train_generator.py serve                      # then, in another shell:
prefect deployment run train-generator/local -p data=training.parquet --watch

A run that was killed resumes from its last state when it is started again with the same parameters.
"""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_image_artifact, create_markdown_artifact

from miex.flows.artifacts import preview
from miex.flows.entry import retried, run_or_serve
from miex.generators.ganimation.monitor import GRIDS
from miex.generators.ganimation.recipe import choose_recipe
from miex.generators.ganimation.training import TrainingConfig, TrainingResult
from miex.generators.ganimation.training import train as train_network


@flow(name="train-generator", log_prints=True)
def train_generator(
    data: Path,
    out: Path = Path("runs/generator"),
    recipe: str = "guided",
    pairs: Path | None = None,
    start: Path | None = None,
    photographs: int | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    device: str = "auto",
    compile: bool = False,
    settings: dict[str, Any] | None = None,
) -> str:
    """Train GANimation's generator, or resume a training that was interrupted.

    Args:
        data: Training set of `miex training-set` (.parquet).
        out: Folder of the run.
        recipe: Recipe: guided, miex, pumarola or donydchen.
        pairs: Second training set, of frames of people in motion: real pairs.
        start: Weights to start from instead of random ones.
        photographs: Number of training photographs; all by default.
        steps: Number of steps, instead of the recipe's epochs.
        minutes: Stop after this time; the next run resumes.
        seed: Seed of everything that is random.
        device: Where to compute: auto, cpu, cuda, ...
        compile: Use torch.compile for the generator.
        settings: Fields of the recipe to change: {"weights.cycle": 5}.

    Returns:
        The weights.
    """
    config = TrainingConfig(
        data=data, out=out, recipe=choose_recipe(recipe, settings), pairs=pairs, start=start,
        photographs=photographs, seed=seed, steps=steps, minutes=minutes, device=device,
        compile=compile,
    )  # fmt: skip
    result = train(config)
    publish(config, result)
    return str(result.weights)


@retried
def train(config: TrainingConfig) -> TrainingResult:
    """Train in this process."""
    return train_network(config)


def publish(config: TrainingConfig, result: TrainingResult) -> None:
    """Publish the progress, the errors of the AUs and the last samples."""
    rows = {
        "Weights": f"`{result.weights}`",
        "Steps": f"{result.step} of {result.total}",
        "Recipe": config.recipe.name,
        "Images a second": f"{result.images_per_second:.0f}",
        "Squared error of the AUs of validation identities": f"{result.au_error:.3f}",
        "The same of their mean": f"{result.au_error_constant:.3f}",
    }
    lines = ["# Generator", "", "| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]
    create_markdown_artifact(key="generator", markdown="\n".join(lines))
    grids = sorted((config.out / GRIDS).glob("*.png"))
    if grids:
        create_image_artifact(
            image_url=preview(grids[-1]), key="generator-samples", description=f"Whole: {grids[-1]}"
        )


def main() -> None:
    """Run the flow, or serve a deployment of it."""
    run_or_serve(train_generator)


if __name__ == "__main__":
    main()
