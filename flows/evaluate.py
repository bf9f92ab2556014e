"""The Prefect flow `evaluate`: scores of a recognizer by a protocol, without leaks.

python flows/evaluate.py run -p recognizer=ststnet -p protocol=casme2 -p clips=[casme2:/data/CASME2]
python flows/evaluate.py serve                             # then, in another shell:
prefect deployment run evaluate/local -p config=evaluation.yaml --watch
"""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from miex.datasets.config import build
from miex.flows.api import CACHE as DEFAULT_CACHE
from miex.flows.artifacts import StageArtifacts, publish_scores
from miex.flows.entry import is_transient, run_or_serve
from miex.pipeline.recognition import jobs
from miex.pipeline.recognition.job_config import EvaluateJob
from miex.pipeline.recognition.results import RESULT, Result
from miex.pipeline.reports.results_page import write_results_page


@flow(name="evaluate", log_prints=True)
def evaluate(
    recognizer: str | None = None,
    protocol: str | None = None,
    clips: list[str] | None = None,
    datasets: list[str] | None = None,
    checkpoint: Path | None = None,
    out: Path = Path("out/evaluated"),
    config: Path | None = None,
    settings: dict[str, Any] | None = None,
    cache: Path = DEFAULT_CACHE,
) -> str:
    """Evaluates, or goes on with an evaluation that was interrupted.

    Args:
        recognizer: Its name.
        protocol: Name of the protocol.
        clips: Databases of real clips, NAME:PATH.
        datasets: Synthesized datasets on which each fold pretrains.
        checkpoint: A pretrained recognizer, instead of datasets.
        out: Folder of the evaluation.
        config: A YAML file with fields of `EvaluateJob`; every parameter here wins over it.
        settings: Any other field, nested ones with dots: {"evaluation.seeds": [0, 1, 2, 3, 4]}.
        cache: Folder of cached representations.

    Returns:
        The result's file.
    """
    values = {
        "evaluation.recognizer": recognizer,
        "evaluation.protocol": protocol,
        "clips.databases": clips,
        "synthetic.datasets": datasets,
        "checkpoint": checkpoint,
        **(settings or {}),
    }
    job = build(EvaluateJob, {k: v for k, v in values.items() if v is not None}, config)
    result = run(job, out.resolve(), cache.resolve())
    publish_scores(result)
    return str(result.folder / RESULT)


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def run(job: EvaluateJob, out: Path, cache: Path) -> Result:
    """Runs the job."""
    result = jobs.run_evaluation(job, out, cache, on_stage=StageArtifacts().update)
    page = write_results_page([result], out)
    print(f"result: {out / RESULT}, page: {page}")
    return result


def main() -> None:
    """Runs the flow, or serves a deployment of it."""
    run_or_serve(evaluate)


if __name__ == "__main__":
    main()
