"""Define the Prefect flow `experiment`: a table or figure of the papers.

python flows/experiment.py run -p name=mie_x_table_1 -p clips='["casme2:/data/CASME2"]'
python flows/experiment.py serve                           # then, in another shell:
prefect deployment run experiment/local -p name=real_flow --watch
"""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from miex.flows.artifacts import StageArtifacts
from miex.flows.entry import parameters_of, retried, run_or_serve
from miex.pipeline.experiments.config import load_experiment
from miex.pipeline.experiments.page import as_markdown
from miex.pipeline.experiments.run import run_experiment
from miex.pipeline.experiments.scale import Inputs, Scale
from miex.pipeline.reports.results_page import PAGE


@flow(name="experiment", log_prints=True)
@parameters_of(Scale)
def experiment(
    scale: Scale,
    name: str = "mie_x_table_1",
    clips: list[str] | None = None,
    files: dict[str, str] | None = None,
    out: Path | None = None,
    cache: Path = Path("out/cache"),
    workers: int | None = None,
) -> str:
    """Reproduce a table or figure of the papers, with their numbers beside; resume if interrupted.

    Args:
        scale: Every flag of `Scale`, as a parameter each.
        name: Experiment or YAML file, as `miex experiment` lists them.
        clips: Real clips, NAME:PATH.
        files: Inputs of the experiment by name: {"faces": "faces.parquet"}.
        out: Folder of the page; out/experiments/NAME by default.
        cache: Folder of cached representations.
        workers: Number of processes.

    Returns:
        The page.
    """
    inputs = Inputs(clips=tuple(clips or ()), files=files or {})
    place = (out or Path("out/experiments") / load_experiment(name).name).resolve()
    table = compute(name, inputs, place, cache, scale, workers)
    create_markdown_artifact(
        key="experiment", markdown=f"{as_markdown(table)}\n\nPage: `{place / PAGE}`"
    )
    return str(place / PAGE)


@retried
def compute(
    name: str, inputs: Inputs, out: Path, cache: Path, scale: Scale, workers: int | None
) -> dict[str, Any]:
    """Synthesize the datasets, evaluate the cells, and write the table."""
    progress = StageArtifacts()
    table = run_experiment(
        load_experiment(name),
        inputs,
        out,
        cache,
        scale,
        workers=workers,
        on_stage=progress.update,
    )
    print(f"page: {out / PAGE}")
    return table


if __name__ == "__main__":
    run_or_serve(experiment)
