"""Define the Prefect flow `mie-x`: the whole chain of MiE-X, from photographs to scores.

python flows/mie_x.py run                                  # minutes, on what is installed
python flows/mie_x.py serve                                # then, in another shell:
prefect deployment run mie-x/local -p clips='["casme2:/data/CASME2"]' --watch

Every stage is a task with its own progress and artifact; it is skipped when its output is there. A
run that was killed resumes when it is started again with the same parameters.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_image_artifact, create_markdown_artifact

from miex.datasets.locks import locked
from miex.flows.artifacts import StageArtifacts, preview
from miex.flows.entry import parameters_of, retried, run_or_serve
from miex.pipeline.experiments.chain import Chain, Stage
from miex.pipeline.experiments.chain_config import ChainConfig


@flow(name="mie-x", log_prints=True)
@parameters_of(ChainConfig)
def mie_x(
    job: ChainConfig,
    out: Path = Path("out/mie-x"),
    workers: int | None = None,
    cache: Path | None = None,
    dry_run: bool = False,
) -> str:
    """Reproduce MiE-X: faces, AU pools, dataset, training, evaluation; resume if interrupted.

    Args:
        job: Every flag of `ChainConfig`, as a parameter each.
        out: Folder of the run.
        workers: Number of processes; one per core by default.
        cache: Folder of cached representations; OUT/cache by default.
        dry_run: Only publish the stages, what each needs, and how long it will take.

    Returns:
        The page.
    """
    chain = Chain(job, out.resolve(), cache, workers)
    publish_outlook(chain)
    if dry_run:
        return str(chain.out)
    with locked(chain.out, print):
        for stage in chain.stages:
            if stage.left_out is not None:
                print(f"{stage.title}: left out, {stage.left_out}")
                continue
            task = run_stage.with_options(name=stage.name, task_run_name=stage.name)
            publish_stage(stage, task(chain, stage.name))
        page = chain.write_page()
    publish_scores(chain, page)
    return str(page)


@retried
def run_stage(chain: Chain, name: str) -> Mapping[str, Any]:
    """Run one stage, or skip it if its output is there."""
    stage = chain.stage(name)
    artifacts = StageArtifacts(prefix=name)
    made = chain.run_stage(stage, artifacts.update)
    print(f"{stage.title}: {made.get('skipped') or made['output']}")
    return made


def publish_outlook(chain: Chain) -> None:
    """Publish the stages with their needs, and the time that they will take."""
    lines = ["# Stages", "", *(f"- {note}" for note in chain.settled.notes), ""]
    lines += ["| stage | what | needs | about | state |", "|---|---|---|---|---|"]
    for each in chain.outlook():
        seconds = "" if each.seconds is None else f"{each.seconds:.0f} s"
        stage = each.stage
        lines.append(f"| {stage.name} | {stage.title} | {stage.needs} | {seconds} | {each.state} |")
    create_markdown_artifact(key="stages", markdown="\n".join(lines))


def publish_stage(stage: Stage, made: Mapping[str, Any]) -> None:
    """Publish what a stage made, and the contact sheet of a dataset."""
    lines = [f"# {stage.title}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_said(value)} |" for name, value in made.items() if name != "scores"]
    create_markdown_artifact(key=f"stage-{stage.name}", markdown="\n".join(lines))
    sheet = Path(str(made["output"])) / "sheet.png"
    if sheet.is_file():
        create_image_artifact(
            image_url=preview(sheet), key="contact-sheet", description=f"Whole: {sheet}"
        )


def publish_scores(chain: Chain, page: Path) -> None:
    """Publish the scores of every recognizer and the path of the page."""
    found = chain.finished(chain.stage("evaluate")) or {}
    lines = ["# Scores", "", *(f"- {note}" for note in chain.settled.notes), ""]
    lines += ["| recognizer | trained on | clips | UF1 | UAR |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['recognizer']} | {row['trained on']} | {row['clips']} | {row['uf1'][0]:.3f} |"
        f" {row['uar'][0]:.3f} |"
        for row in found.get("scores", ())
    ]
    lines += ["", f"Page: `{page}`"]
    create_markdown_artifact(key="mie-x", markdown="\n".join(lines))


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(each)}" for name, each in value.items()) or "-"
    return f"`{value}`" if isinstance(value, str) and "/" in value else str(value)


def main() -> None:
    """Run the flow, or serve a deployment of it."""
    run_or_serve(mie_x)


if __name__ == "__main__":
    main()
