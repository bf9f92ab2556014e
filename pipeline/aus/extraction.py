"""Extraction of an AU pool from a database of clips, given its config."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from miex.au_sources import early_mae, real_mie
from miex.au_sources.calibrated_estimator import create_calibrated_estimator
from miex.au_sources.early_mae import EarlyMaeConfig
from miex.au_sources.estimators.base import AUEstimator, Frame, Landmarker, estimator_names
from miex.au_sources.extraction import Extraction, ExtractionConfig, OnClip
from miex.au_sources.openface_folder import OpenFaceFolder
from miex.au_sources.real_mie import FacsConfig
from miex.datasets.clips.base import ClipReader, open_clips
from miex.datasets.clips.frames import FrameFolder
from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.datasets.locks import locking
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector

OPENFACE = "openface"
"""Value of `AUExtractionConfig.estimator`, with a folder, that selects OpenFace's CSVs."""

FACS = "facs"
"""Value of `AUExtractionConfig.estimator` that selects the FACS codes of human coders."""


class AUExtractionConfig(FrozenConfig):
    """Config of one AU pool: the clips, the AU source, the estimator and its settings."""

    inlined = ("real_mie", "early_mae", "facs")

    clips: Annotated[str, Flag(argument=True, metavar="CLIPS")] = Field(
        "samples",
        description="database of clips, NAME:PATH such as casme2:/data/CASME2, or samples (the "
        "videos that are part of miex's dependencies)",
    )
    source: Annotated[Literal["real_mie", "early_mae"], Flag()] = Field(
        "real_mie",
        description="real_mie reads the annotated onset and apex of micro-expressions, early_mae "
        "the first frames of macro-expressions",
    )
    estimator: Annotated[
        str,
        Flag(
            short="-e", metavar="NAME[:MODEL]", choices=lambda: [*estimator_names(), OPENFACE, FACS]
        ),
    ] = Field(
        "landmarks",
        description="AU estimator; facs reads the FACS codes of the annotation, and "
        "openface:FOLDER the CSVs of OpenFace 2, one per clip; both need no images",
    )
    csv_map: Annotated[Path | None, Flag()] = Field(
        None,
        description="with openface: a table with the columns subject, clip, csv and, optionally, "
        "first_frame, for CSVs that are not called after their clip",
    )
    calibration: Annotated[str, Flag()] = Field(
        "shipped",
        description="map of the estimator's scale onto 0-5: shipped, none, or a file written by "
        "`miex calibrate`",
    )
    drop_weak: Annotated[bool, Flag()] = Field(
        False, description="mark AUs as not measured where the calibration is weak"
    )
    device: Annotated[str, Flag()] = Field(
        "auto", description="device of the estimator: auto, cpu, cuda, cuda:1, ..."
    )
    download: Annotated[bool, Flag()] = Field(
        False, description="allow the estimator to download its weights"
    )
    person_calibration: Annotated[bool, Flag()] = Field(
        False,
        description="measure a video relative to the neutral face of the person, if the estimator "
        "supports it",
    )
    real_mie: ExtractionConfig = ExtractionConfig()
    early_mae: EarlyMaeConfig = EarlyMaeConfig()
    facs: FacsConfig = FacsConfig()

    @classmethod
    def inlined_group(cls, values: Mapping[str, Any]) -> str:
        """Return the name of the active section: `facs`, or that of the AU source."""
        source = FACS if values.get("estimator") == FACS else values.get("source")
        return str(source) if source in cls.inlined else cls.inlined[0]

    @model_validator(mode="after")
    def _fits(self) -> "AUExtractionConfig":
        if self.estimator == FACS and self.source != "real_mie":
            raise ValueError(
                f"estimator: facs cannot be combined with source: {self.source}, because FACS "
                "codes describe the apex only; choose source: real_mie, or another estimator"
            )
        name, _, folder = self.estimator.partition(":")
        if name == OPENFACE and not folder:
            raise ValueError("estimator: openface needs the folder of the CSVs, openface:FOLDER")
        if name == OPENFACE and self.calibration not in ("shipped", "none"):
            raise ValueError(
                "calibration: OpenFace's CSVs are intensities already; leave out the calibration"
            )
        if self.csv_map is not None and name != OPENFACE:
            raise ValueError("csv_map: needs estimator: openface:FOLDER")
        return self


def dlib_landmarker(config: FaceConfig | None = None) -> Landmarker:
    """Return a function that finds the 68 landmarks of the largest face with dlib.

    Args:
        config: Image sizes for detection; the defaults of `FaceConfig` if None.

    Returns:
        A function from a frame ``uint8 (H, W, 3)`` RGB to landmarks ``float32 (68, 2)`` in pixels,
        or to None where no face is found.

    Raises:
        FileNotFoundError: A model file is missing.
    """
    detector = DlibDetector(config or FaceConfig())

    def find(frame: Frame) -> NDArray[np.float32] | None:
        boxes = detector.find(frame)
        if not boxes:
            return None
        return detector.landmarks(frame, max(boxes, key=lambda box: box[2] - box[0]))

    return find


@locking("out")
def extract_aus(
    config: AUExtractionConfig, out: Path | None = None, on_clip: OnClip | None = None
) -> Extraction:
    """Extract the AU pairs of a database of clips.

    Args:
        config: Clips, AU source, estimator and settings.
        out: The pool file to write, ending in .parquet; a summary of the extraction is written
            beside it. With None, nothing is written.
        on_clip: Progress callback: (clips done, clips in total).

    Returns:
        The AU pairs and every clip that was left out, with its reason.

    Raises:
        ValueError: The database or the estimator does not exist or does not fit the source, `out`
            does not end in .parquet, or no clip yielded an AU pair.
        FileNotFoundError: The database, its frames or a model is missing.
        ModuleNotFoundError: A package that the estimator needs is not installed.
    """
    if out is not None and out.suffix != ".parquet":
        raise ValueError(f"{out}: the name of an AU pool must end in .parquet")
    if config.estimator == FACS:
        reader = open_clips(config.clips, frames=False)
        extraction = real_mie.from_facs_codes(reader, config.facs, on_clip)
    elif config.estimator.startswith(f"{OPENFACE}:"):
        reader = open_clips(config.clips, frames=False)
        extraction = _measured(config, reader, _recorded(config, reader), None, on_clip)
    else:
        reader = open_clips(config.clips)
        estimator = create_calibrated_estimator(
            config.estimator,
            config.calibration,
            drop_weak=config.drop_weak,
            device=config.device,
            download=config.download,
            person_calibration=config.person_calibration,
        )
        # Also passed to estimators with their own detector, which must measure the same face.
        extraction = _measured(config, reader, estimator, dlib_landmarker(), on_clip)
    if out is not None:
        extraction.write(out)
    return extraction


def _measured(
    config: AUExtractionConfig,
    reader: ClipReader,
    estimator: AUEstimator | OpenFaceFolder,
    landmarker: Landmarker | None,
    on_clip: OnClip | None,
) -> Extraction:
    """Extract the pairs of the source of the config."""
    if config.source == "real_mie":
        return real_mie.extract(reader, estimator, config.real_mie, landmarker, on_clip)
    return early_mae.extract(reader, estimator, config.early_mae, landmarker, on_clip)


def _recorded(config: AUExtractionConfig, reader: ClipReader) -> OpenFaceFolder:
    """Return the CSVs of OpenFace for the clips of a database.

    The names of the images, where they are there, decide which frame is the first of a CSV.
    """
    folder = Path(config.estimator.partition(":")[2]).expanduser()
    names: dict[tuple[str, str, str], Mapping[int, str]] = {}
    # Without the images, CSVs and annotation must be enough.
    with suppress(FileNotFoundError, ValueError):
        for clip in open_clips(config.clips).clips():
            if isinstance(clip.frames, FrameFolder):
                names[clip.key] = clip.frames.files
            elif clip.frames is not None:
                names[clip.key] = {number: f"{number:09}" for number in clip.frames.numbers}
    return OpenFaceFolder(folder, reader.clips(), config.csv_map, names)
