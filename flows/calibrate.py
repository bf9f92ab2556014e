"""Define the Prefect flow `calibrate`: map an estimator's scale onto FACS intensity.

python flows/calibrate.py run -p photographs=~/faces -p estimator=mediapipe:FILE \
    -p reference=openface-models:FOLDER
python flows/calibrate.py serve                            # then, in another shell:
prefect deployment run calibrate/local -p photographs=/data/faces ... --watch
"""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact

from miex.au_sources.calibration import Calibration
from miex.datasets.quantity import quantity
from miex.flows.artifacts import ProgressArtifact
from miex.flows.entry import retried, run_or_serve, telling_failures
from miex.pipeline.aus.calibration import calibrate as fit


@flow(name="calibrate", log_prints=True)
@telling_failures()
def calibrate(
    photographs: str,
    estimator: str,
    reference: str,
    out: Path = Path("calibration.json"),
    device: str = "auto",
    download: bool = False,
) -> str:
    """Map an estimator's scale onto FACS intensity, from photographs of some hundred people.

    Args:
        photographs: Photographs of faces, as in the flow `faces`.
        estimator: Estimator to calibrate, NAME or NAME:MODEL.
        reference: Estimator that measures intensity: openface-models:FOLDER.
        out: The calibration (.json).
        device: Where to compute: auto, cpu, cuda, ...
        download: Allow the estimators to download their weights.

    Returns:
        The calibration.
    """
    found = measure(photographs, estimator, reference, out.resolve(), device, download)
    rows = [
        {
            "AU": name,
            "correlation": f"{one.correlation:.2f}{' weak' if one.weak else ''}",
            "mean error": f"{one.mae:.2f}",
            "faces": str(one.pairs),
        }
        for name, one in found.maps.items()
    ]
    create_table_artifact(key="calibration", table=rows, description=str(out))
    return str(out.resolve())


@retried
def measure(
    photographs: str, estimator: str, reference: str, out: Path, device: str, download: bool
) -> Calibration:
    """Measure the photographs with both estimators, fit the maps, and write them."""
    progress = ProgressArtifact("photographs", "Photographs measured")
    found, rejections = fit(
        estimator,
        reference,
        photographs,
        out,
        device=device,
        download=download,
        on_faces=progress.update,
    )
    print(f"calibration: {out}; {quantity(len(rejections), 'photograph')} left out")
    return found


if __name__ == "__main__":
    run_or_serve(calibrate)
