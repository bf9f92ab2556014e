"""The Prefect flow `pretrain`: trains a recognizer on synthesized datasets.

python flows/pretrain.py run -p recognizer=ststnet -p datasets=[out/miex]
python flows/pretrain.py serve                             # then, in another shell:
prefect deployment run pretrain/local -p recognizer=ststnet -p 'datasets=["out/miex"]' --watch
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
from miex.pipeline.recognition.job_config import PretrainJob


@flow(name="pretrain", log_prints=True)
def pretrain(
    recognizer: str | None = None,
    datasets: list[str] | None = None,
    out: Path = Path("out/pretrained"),
    config: Path | None = None,
    settings: dict[str, Any] | None = None,
    cache: Path = DEFAULT_CACHE,
) -> str:
    """Pretrains, or goes on with a pretraining that was interrupted.

    Args:
        recognizer: Its name.
        datasets: Folders or addresses of synthesized datasets.
        out: Folder of the training.
        config: A YAML file with fields of `PretrainJob`; every parameter here wins over it.
        settings: Any other field, nested ones with dots: {"training.epochs": 5}.
        cache: Folder of cached representations.

    Returns:
        The checkpoint.
    """
    values = {"recognizer": recognizer, "synthetic.datasets": datasets, **(settings or {})}
    job = build(PretrainJob, {k: v for k, v in values.items() if v is not None}, config)
    return str(run(job, out.resolve(), cache.resolve()))


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def run(job: PretrainJob, out: Path, cache: Path) -> Path:
    """Runs the job."""
    artifacts = StageArtifacts()
    jobs.pretrain(
        job, out, cache, on_stage=artifacts.update, on_step=artifacts.step, on_warning=print
    )
    print(f"recognizer: {out / CHECKPOINT}")
    return out / CHECKPOINT


def main() -> None:
    """Runs the flow, or serves a deployment of it."""
    run_or_serve(pretrain)


if __name__ == "__main__":
    main()
