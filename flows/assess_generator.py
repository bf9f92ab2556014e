"""Define the Prefect flow `assess-generator`: how well generators render AUs and identity.

python flows/assess_generator.py run -p generators='["warp"]' -p faces=faces.parquet
python flows/assess_generator.py serve                     # then, in another shell:
prefect deployment run assess-generator/local -p generators='["ganimation"]' --watch
"""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from miex.flows.artifacts import StageArtifacts
from miex.flows.assessment_commands import generator_fields
from miex.flows.entry import parameters_of, retried, run_or_serve
from miex.generators.base import GeneratorConfig
from miex.pipeline.assessment.assessment import assess_generators
from miex.pipeline.assessment.config import AssessmentConfig


class AssessmentJob(AssessmentConfig):
    """An assessment whose generators are given by name, as on the command line."""

    generators: tuple[GeneratorConfig, ...] = (GeneratorConfig(name="warp"),)


@flow(name="assess-generator", log_prints=True)
@parameters_of(AssessmentJob)
def assess_generator(
    config: AssessmentJob,
    generators: list[str] | None = None,
    out: Path = Path("out/assessment"),
    device: str = "auto",
    workers: int | None = None,
) -> str:
    """Measure how well generators render AUs, identity and motion, and how real they look.

    Args:
        config: Every flag of `AssessmentConfig`, as a parameter each.
        generators: Generators: warp, ganimation, NAME:FILE; ganimation by default. warp is always
            included.
        out: Folder of the page.
        device: Where to compute: auto, cpu, cuda, cuda:1, ...
        workers: Number of processes.

    Returns:
        The page.
    """
    fields = {
        **config.model_dump(),
        "generators": generator_fields(generators or ["ganimation"], (), device),
    }
    document = assess(AssessmentConfig.model_validate(fields), out.resolve(), workers)
    create_table_artifact(key="targets", table=target_rows(document))
    lines = [f"- **{each['severity']}**: {each['text']}" for each in document["findings"]]
    page = out.resolve() / "index.html"
    create_markdown_artifact(
        key="assessment", markdown="\n".join(["# Findings", "", *lines, "", f"Page: `{page}`"])
    )
    return str(page)


@retried
def assess(config: AssessmentConfig, out: Path, workers: int | None) -> dict[str, Any]:
    """Render and measure, face by face, and write the page."""
    progress = StageArtifacts()
    document = assess_generators(config, out, workers=workers, on_progress=progress.update)
    print(f"page: {out / 'index.html'}")
    return document


def target_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each target, with a column for each generator."""
    words = {None: "", True: "met: ", False: "NOT met: "}
    generators = document["generators"]
    return [
        {"target": row["name"]}
        | {
            one["label"]: words[one["targets"][n]["met"]] + one["targets"][n]["text"]
            for one in generators
        }
        for n, row in enumerate(generators[0]["targets"])
    ]


if __name__ == "__main__":
    run_or_serve(assess_generator)
