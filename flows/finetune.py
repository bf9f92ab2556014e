"""Define the Prefect flow `finetune`.

python flows/finetune.py run -p recognizer=ststnet -p 'clips=["casme2:/data/CASME2"]'
python flows/finetune.py serve                             # then, in another shell:
prefect deployment run finetune/local -p config=finetuning.yaml --watch
"""

from pathlib import Path

from prefect import flow

from miex.flows.api import CACHE
from miex.flows.entry import parameters_of, run_or_serve
from miex.flows.recognition_tasks import train
from miex.pipeline.recognition.job_config import FinetuneJob


@flow(name="finetune", log_prints=True)
@parameters_of(FinetuneJob)
def finetune(job: FinetuneJob, out: Path = Path("out/finetuned"), cache: Path = CACHE) -> str:
    """Train a recognizer on real clips, or resume a training that was interrupted.

    Args:
        job: Every flag of `FinetuneJob`, as a parameter each.
        out: Folder of the training.
        cache: Folder of cached representations; may be deleted.

    Returns:
        The checkpoint.
    """
    return str(train(job, out.resolve(), cache.resolve()))


if __name__ == "__main__":
    run_or_serve(finetune)
