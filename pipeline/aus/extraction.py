"""AU pools of databases of clips: opens the database and the estimator, and extracts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from miex.au_sources import early_mae, real_mie
from miex.au_sources.calibrated_estimator import create_calibrated_estimator
from miex.au_sources.early_mae import EarlyMaeConfig
from miex.au_sources.estimators.base import Frame, Landmarker, estimator_names
from miex.au_sources.extraction import Extraction, ExtractionConfig, OnClip
from miex.au_sources.real_mie import FacsConfig
from miex.datasets.clips.base import open_clips
from miex.datasets.config import Flag, FrozenConfig
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector

FACS = "facs"
"""Stands for the people who coded the clips, in the place of an estimator."""


class AUExtractionConfig(FrozenConfig):
    """One pool: which clips, which source, which estimator, and how."""

    inlined = ("real_mie", "early_mae", "facs")

    clips: Annotated[str, Flag(argument=True, metavar="[CLIPS]")] = Field(
        "samples",
        description="a database of clips, NAME:PATH as casme2:/data/CASME2, or samples (the videos "
        "that come with miex)",
    )
    source: Annotated[Literal["real_mie", "early_mae"], Flag()] = Field(
        "real_mie", description="annotated onset and apex, or early frames of macro-expressions"
    )
    estimator: Annotated[
        str,
        Flag(short="-e", metavar="NAME[:MODEL]", choices=lambda: [*estimator_names(), FACS]),
    ] = Field(
        "landmarks",
        description="what measures the AUs; facs takes the human codes of the annotation, which "
        "needs no images",
    )
    calibration: Annotated[str, Flag()] = Field(
        "shipped",
        description="maps the estimator's scale onto 0-5: shipped, none, or a file of "
        "`miex calibrate`",
    )
    drop_weak: Annotated[bool, Flag()] = Field(
        False, description="leave AUs unmeasured whose calibration is weak"
    )
    device: Annotated[str, Flag()] = Field(
        "auto", description="device of the estimator: auto, cpu, cuda, cuda:1, ..."
    )
    download: Annotated[bool, Flag()] = Field(
        False, description="allow the estimator to download its weights"
    )
    person_calibration: Annotated[bool, Flag()] = Field(
        False, description="measure videos relative to the face at rest, where the estimator can"
    )
    real_mie: ExtractionConfig = ExtractionConfig()
    early_mae: EarlyMaeConfig = EarlyMaeConfig()
    facs: FacsConfig = FacsConfig()

    @classmethod
    def inlined_group(cls, values: Mapping[str, Any]) -> str:
        """Return the section of the chosen source, or of the human codes."""
        if values.get("estimator") == FACS:
            return FACS
        return str(values.get("source") or cls.model_fields["source"].default)

    @model_validator(mode="after")
    def _fits(self) -> "AUExtractionConfig":
        if self.estimator == FACS and self.source != "real_mie":
            raise ValueError(
                "FACS codes describe the apex, so they make real_mie pairs; early_mae needs an "
                "estimator"
            )
        return self


def dlib_landmarker(config: FaceConfig | None = None) -> Landmarker:
    """Finds the 68 landmarks of the largest face with dlib.

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


def extract_aus(
    config: AUExtractionConfig, out: Path | None = None, on_clip: OnClip | None = None
) -> Extraction:
    """Extracts the AU pairs of a database.

    Args:
        config: What and how.
        out: The pool, ending in .parquet; its account is written beside it. Nothing is written
            without.
        on_clip: Progress, (clips done, clips in all).

    Raises:
        ValueError: A database, estimator or output that does not fit, or no clip gave a pair.
        FileNotFoundError: The database, its frames or a model is not there.
        ModuleNotFoundError: A package that the estimator needs is not installed.
    """
    if out is not None and out.suffix != ".parquet":
        raise ValueError(f"{out}: an AU pool ends in .parquet")
    if config.estimator == FACS:
        reader = open_clips(config.clips, frames=False)
        extraction = real_mie.from_facs_codes(reader, config.facs, on_clip)
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
        # Always: an estimator that finds faces by itself takes from it which face is meant.
        given: tuple[Any, ...] = (dlib_landmarker(), on_clip)
        if config.source == "real_mie":
            extraction = real_mie.extract(reader, estimator, config.real_mie, *given)
        else:
            extraction = early_mae.extract(reader, estimator, config.early_mae, *given)
    if out is not None:
        extraction.write(out)
    return extraction
