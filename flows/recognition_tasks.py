"""Run the jobs on recognizers as Prefect tasks, with progress and scores as artifacts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from miex.flows.artifacts import StageArtifacts, publish_scores
from miex.flows.entry import retried
from miex.pipeline.recognition import jobs
from miex.pipeline.recognition.checkpoint import CHECKPOINT
from miex.pipeline.recognition.job_config import EvaluateJob, FinetuneJob, PretrainJob
from miex.pipeline.recognition.results import RESULT
from miex.pipeline.reports.results_page import write_results_page


@retried
def train(job: PretrainJob | FinetuneJob, out: Path, cache: Path) -> Path:
    """Pretrain or fine-tune a recognizer, and return its checkpoint."""
    artifacts = StageArtifacts()
    run: Callable[..., Any] = jobs.pretrain if isinstance(job, PretrainJob) else jobs.finetune
    run(job, out, cache, on_stage=artifacts.update, on_step=artifacts.step, on_warning=print)
    print(f"recognizer: {out / CHECKPOINT}")
    return out / CHECKPOINT


@retried
def test(job: EvaluateJob, out: Path, cache: Path) -> Path:
    """Evaluate a recognizer, publish its scores, and return the file of the result."""
    result = jobs.run_evaluation(job, out, cache, on_stage=StageArtifacts().update)
    page = write_results_page([result], out)
    publish_scores(result)
    print(f"result: {out / RESULT}, page: {page}")
    return out / RESULT
