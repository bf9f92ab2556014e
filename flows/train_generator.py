"""The Prefect flow `train-generator`: from a training set to the weights of a generator.

python flows/train_generator.py run -p data=training.parquet -p out=runs/gan
python flows/train_generator.py serve                      # then, in another shell:
prefect deployment run train-generator/local -p data=training.parquet --watch

A run that was killed goes on from its last state when the same parameters are started again.
"""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from miex.flows.artifacts import preview
from miex.flows.entry import is_transient, run_or_serve
from miex.generators.ganimation.monitor import GRIDS
from miex.generators.ganimation.recipe import choose_recipe
from miex.generators.ganimation.training import TrainingConfig, TrainingResult
from miex.generators.ganimation.training import train as train_network


@flow(name="train-generator", log_prints=True)
def train_generator(
    data: Path,
    out: Path = Path("runs/generator"),
    recipe: str = "miex",
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    device: str = "auto",
    compile: bool = False,
    settings: dict[str, Any] | None = None,
) -> str:
    """Trains GANimation's generator, or goes on with it.

    Args:
        data: A training set that `miex training-set` made.
        out: Folder of the run.
        recipe: miex, pumarola or donydchen.
        steps: Steps in all, in place of the recipe's epochs.
        minutes: Stop after so many; the next run goes on.
        seed: Of everything random.
        device: Where to compute: auto, cpu, cuda, ...
        compile: torch.compile the generator.
        settings: Fields of the recipe to change: {"weights.cycle": 5}.

    Returns:
        The weights.
    """
    config = TrainingConfig(
        data=data, out=out, recipe=choose_recipe(recipe, settings), seed=seed, steps=steps,
        minutes=minutes, device=device, compile=compile,
    )  # fmt: skip
    result = train(config)
    publish(config, result)
    return str(result.weights)


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def train(config: TrainingConfig) -> TrainingResult:
    """Trains in this process."""
    return train_network(config)


def publish(config: TrainingConfig, result: TrainingResult) -> None:
    """Shows how far the training is, how well AUs are read, and the last samples."""
    rows = {
        "Weights": f"`{result.weights}`",
        "Steps": f"{result.step} of {result.total}",
        "Recipe": config.recipe.name,
        "Images a second": f"{result.images_per_second:.0f}",
        "Squared error of the AUs of strangers": f"{result.au_error:.3f}",
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
    """Runs the flow, or serves a deployment of it."""
    run_or_serve(train_generator)


if __name__ == "__main__":
    main()
