"""AU pools of databases of clips: opens the database and the estimator, and extracts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from miex.au_sources import early_mae, real_mie
from miex.au_sources.calibrated_estimator import create_calibrated_estimator
from miex.au_sources.early_mae import EarlyMaeConfig
from miex.au_sources.estimators.base import Frame, Landmarker
from miex.au_sources.extraction import Extraction, ExtractionConfig, OnClip
from miex.au_sources.real_mie import FacsConfig
from miex.datasets.clips.base import open_clips
from miex.datasets.config import FrozenConfig, explain
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector

FACS = "facs"
"""Stands for the people who coded the clips, in the place of an estimator."""


class AUExtractionConfig(FrozenConfig):
    """One pool: which clips, which source, which estimator, and how."""

    clips: str = Field("samples", description="a database of clips, NAME:PATH, or samples")
    source: Literal["real_mie", "early_mae"] = Field(
        "real_mie", description="annotated onset and apex, or early frames of macro-expressions"
    )
    estimator: str = Field(
        "landmarks",
        description="NAME or NAME:MODEL; or facs, the human codes of the annotation, which needs "
        "no images",
    )
    calibration: str = Field(
        "shipped",
        description="maps the estimator's scale onto 0-5: shipped, none, or a file of "
        "`miex calibrate`",
    )
    drop_weak: bool = Field(False, description="leave AUs unmeasured whose map is weak")
    device: str = Field("auto", description="of the estimator: auto, cpu, cuda, ...")
    download: bool = Field(False, description="allow the estimator to download its weights")
    person_calibration: bool = Field(
        False, description="measure videos relative to the face at rest, where it can"
    )
    real_mie: ExtractionConfig = ExtractionConfig()
    early_mae: EarlyMaeConfig = EarlyMaeConfig()
    facs: FacsConfig = FacsConfig()

    @classmethod
    def of(cls, values: Mapping[str, Any], reading: Mapping[str, Any]) -> "AUExtractionConfig":
        """A config whose section for the chosen source is given without its name.

        Args:
            values: Fields by name.
            reading: Fields of `facs` if the estimator is that, else of `real_mie` or `early_mae`.

        Raises:
            ValueError: A field that does not exist there, or a value that does not fit.
        """
        facs = values.get("estimator") == FACS
        section = FACS if facs else values.get("source", cls.model_fields["source"].default)
        given = {**values, section: {**values.get(section, {}), **reading}} if reading else values
        try:
            return cls(**given)
        except ValidationError as error:
            raise ValueError(explain(error)) from None

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
