"""The Prefect flow `finetune`: trains a recognizer on real clips.

python flows/finetune.py run -p recognizer=ststnet -p clips=[casme2:/data/CASME2]
python flows/finetune.py serve                             # then, in another shell:
prefect deployment run finetune/local -p 'clips=["casme2:/data/CASME2"]' --watch
"""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from miex.datasets.config import build
from miex.flows.api import CACHE as DEFAULT_CACHE
from miex.flows.artifacts import StageArtifacts
from miex.flows.entry import is_transient, run_or_serve
from miex.pipeline.recognition import jobs
from miex.pipeline.recognition.checkpoint import CHECKPOINT
from miex.pipeline.recognition.job_config import FinetuneJob


@flow(name="finetune", log_prints=True)
def finetune(
    recognizer: str | None = None,
    clips: list[str] | None = None,
    checkpoint: Path | None = None,
    out: Path = Path("out/finetuned"),
    config: Path | None = None,
    settings: dict[str, Any] | None = None,
    cache: Path = DEFAULT_CACHE,
) -> str:
    """Fine-tunes, or goes on with a fine-tuning that was interrupted.

    Args:
        recognizer: Its name.
        clips: Databases of real clips, NAME:PATH.
        checkpoint: What to start from; nothing by default.
        out: Folder of the training.
        config: A YAML file with fields of `FinetuneJob`; every parameter here wins over it.
        settings: Any other field, nested ones with dots: {"training.epochs": 5}.
        cache: Folder of cached representations.

    Returns:
        The checkpoint.
    """
    values = {
        "recognizer": recognizer,
        "clips.databases": clips,
        "checkpoint": checkpoint,
        **(settings or {}),
    }
    job = build(FinetuneJob, {k: v for k, v in values.items() if v is not None}, config)
    return str(run(job, out.resolve(), cache.resolve()))


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def run(job: FinetuneJob, out: Path, cache: Path) -> Path:
    """Runs the job."""
    artifacts = StageArtifacts()
    jobs.finetune(
        job, out, cache, on_stage=artifacts.update, on_step=artifacts.step, on_warning=print
    )
    print(f"recognizer: {out / CHECKPOINT}")
    return out / CHECKPOINT


def main() -> None:
    """Runs the flow, or serves a deployment of it."""
    run_or_serve(finetune)


if __name__ == "__main__":
    main()
