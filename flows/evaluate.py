"""Define the Prefect flow `evaluate`.

python flows/evaluate.py run -p recognizer=ststnet -p protocol=casme2 -p clips=[casme2:/data/CASME2]
python flows/evaluate.py serve                             # then, in another shell:
prefect deployment run evaluate/local -p config=evaluation.yaml --watch
"""

from pathlib import Path

from prefect import flow

from miex.flows.api import CACHE
from miex.flows.entry import parameters_of, run_or_serve
from miex.flows.recognition_tasks import test
from miex.pipeline.recognition.job_config import EvaluateJob


@flow(name="evaluate", log_prints=True)
@parameters_of(EvaluateJob)
def evaluate(job: EvaluateJob, out: Path = Path("out/evaluated"), cache: Path = CACHE) -> str:
    """Evaluate a recognizer by a protocol; test subjects are held out of every training stage.

    Args:
        job: Every flag of `EvaluateJob`, as a parameter each.
        out: Folder of the evaluation.
        cache: Folder of cached representations; may be deleted.

    Returns:
        The file of the result.
    """
    return str(test(job, out.resolve(), cache.resolve()))


if __name__ == "__main__":
    run_or_serve(evaluate)
