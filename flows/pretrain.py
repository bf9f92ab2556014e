"""Define the Prefect flow `pretrain`.

python flows/pretrain.py run -p recognizer=ststnet -p 'datasets=["out/miex"]'
python flows/pretrain.py serve                             # then, in another shell:
prefect deployment run pretrain/local -p recognizer=ststnet -p 'datasets=["out/miex"]' --watch
"""

from pathlib import Path

from prefect import flow

from miex.flows.api import CACHE
from miex.flows.entry import parameters_of, run_or_serve
from miex.flows.recognition_tasks import train
from miex.pipeline.recognition.job_config import PretrainJob


@flow(name="pretrain", log_prints=True)
@parameters_of(PretrainJob)
def pretrain(job: PretrainJob, out: Path = Path("out/pretrained"), cache: Path = CACHE) -> str:
    """Train a recognizer on synthesized datasets, or resume a training that was interrupted.

    Args:
        job: Every flag of `PretrainJob`, as a parameter each.
        out: Folder of the training.
        cache: Folder of cached representations; may be deleted.

    Returns:
        The checkpoint.
    """
    return str(train(job, out.resolve(), cache.resolve()))


if __name__ == "__main__":
    run_or_serve(pretrain)
