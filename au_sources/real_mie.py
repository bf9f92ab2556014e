"""Extract AUs of real micro-expressions, the first source of MiE-X.

Liu et al., ECCV 2022, section 4.2. Either an estimator measures onset and apex of every annotated
clip, or the FACS codes of the annotators are used, so that an annotation sheet without images is
enough for a pool.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from miex.au_sources.action_units import (
    AU_COUNT,
    AU_NAMES,
    MAX_INTENSITY,
    AUArray,
    FacsCoding,
    parse_facs,
)
from miex.au_sources.estimators.base import AUEstimator, Landmarker
from miex.au_sources.expert import MICRO_INTENSITY
from miex.au_sources.extraction import (
    Extraction,
    ExtractionConfig,
    OnClip,
    extract_clips,
    make_pair,
    open_measurement,
    seeded,
    written,
)
from miex.au_sources.openface_folder import OpenFaceFolder
from miex.au_sources.pool import AUPair
from miex.datasets.base import Rejection
from miex.datasets.clips.base import Clip, ClipReader
from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag

_OUTSIDE = "outside of the 17 AUs"
"""Ending of the counts of AUs that no vector can hold, as ``AU24 outside of the 17 AUs``."""


def extract(
    reader: ClipReader,
    estimator: AUEstimator | OpenFaceFolder,
    config: ExtractionConfig | None = None,
    landmarker: Landmarker | None = None,
    on_clip: OnClip | None = None,
) -> Extraction:
    """Measure onset and apex of every annotated clip.

    The apex is the reader's, by the rule that it records with each clip (SMIC has none annotated:
    its middle frame); the rule is part of each pair's provenance. Every clip gives one pair, or a
    rejection: ``no_apex``, ``apex_is_onset`` (the annotation says so, so there is no change to
    measure), ``no_face_at_onset``, ``no_face_at_apex``, ``small_change``, ``unreadable_frame``.

    Args:
        reader: A database opened with frames; with OpenFace's CSVs it may be opened without.
        estimator: Measures the AUs, or the CSVs of OpenFace that hold them.
        config: Denoising, relative or absolute values, smallest change, track.
        landmarker: For estimators that need landmarks.
        on_clip: Called before the first clip and after each.

    Raises:
        ValueError: The database was opened without frames.
    """
    reading = config or ExtractionConfig()
    settings = {
        "source": "real_mie",
        "estimator": written(estimator),
        "config": reading.model_dump(mode="json"),
    }
    return extract_clips(
        reader,
        lambda clip, _: [_extract_clip(clip, estimator, reading, landmarker)],
        settings,
        on_clip,
    )


def _extract_clip(
    clip: Clip,
    estimator: AUEstimator | OpenFaceFolder,
    config: ExtractionConfig,
    landmarker: Landmarker | None,
) -> AUPair | Rejection:
    if clip.apex is None:
        detail = f"{clip.annotation}: no apex is annotated; the source early_mae searches for it"
        return Rejection(clip.origin, "no_apex", detail)
    if clip.apex == clip.onset:
        detail = f"{clip.annotation}: onset and apex are both frame {clip.onset}"
        return Rejection(clip.origin, "apex_is_onset", detail)
    measurement = open_measurement(clip, estimator, config.window, landmarker)
    if isinstance(measurement, Rejection):
        return measurement
    return make_pair(
        clip,
        measurement.at(measurement.numbers if config.track else [clip.onset, clip.apex]),
        clip.onset,
        clip.apex,
        config,
        source="real_mie",
        estimator=f"{written(estimator)}; apex {clip.apex_rule}{config.wording()}",
    )


class FacsConfig(FrozenConfig):
    """How FACS codes become intensities."""

    intensity: Annotated[tuple[float, float], Flag()] = Field(
        MICRO_INTENSITY,
        description="with facs: range of the intensity of AUs coded without a letter, 0-5 scale",
    )
    letters: Literal["facs", "micro"] = Field(
        "facs",
        description="facs: A to E are 1 to 5, as the FACS manual has them; micro: A to E are five "
        "equal steps over `intensity`, so that a sheet with letters stays in its range",
    )
    alternatives: Literal["first", "all", "error"] = Field(
        "first",
        description="what 'R12 or R15' means: the first, all, or that the clip is left out",
    )
    seed: Annotated[int, Flag()] = Field(
        0, ge=0, lt=2**63, description="seed of the drawn intensities"
    )

    @model_validator(mode="after")
    def _ordered(self) -> "FacsConfig":
        low, high = self.intensity
        if not 0 < low <= high <= MAX_INTENSITY:
            raise ValueError(
                f"intensity must be 0 < low <= high <= {MAX_INTENSITY:g}, not ({low}, {high})"
            )
        return self


def from_facs_codes(
    reader: ClipReader, config: FacsConfig | None = None, on_clip: OnClip | None = None
) -> Extraction:
    """Make pairs of human FACS codes; needs no images.

    The onset is neutral. At the apex every coded AU is on, whatever its side; its intensity is
    that of its letter, or drawn from `FacsConfig.intensity`. A draw depends on the seed, the clip
    and the AU alone, and the pair's provenance says which AUs were drawn. AUs outside of the 17
    are counted one by one; a clip that shows only such AUs stays in the pool with an apex of
    zeros, so that frequencies count every clip (`PoolSource` never draws it). Clips without a code
    are rejected as ``not_coded``, those that cannot be read as ``unreadable_aus``.

    Args:
        reader: A database; it may be opened without frames.
        config: Range, meaning of letters, seed.
        on_clip: Called before the first clip and after each.
    """
    coded = config or FacsConfig()

    def one_clip(clip: Clip, counted: Counter[str]) -> Sequence[AUPair | Rejection]:
        coding = _coding(clip, coded)
        if isinstance(coding, Rejection):
            return [coding]
        counted["codes"] += len({code.number for code in coding.codes})
        counted["uncertain codes"] += sum(code.uncertain for code in coding.codes)
        outside = {code.number for code in coding.outside}
        counted.update(f"AU{number} {_OUTSIDE}" for number in sorted(outside))
        counted["clips with none of the 17 AUs"] += not coding.presence.any()
        return [_coded_pair(clip, coding, coded)]

    settings = {
        "source": "real_mie",
        "estimator": "FACS codes of the annotation",
        "config": coded.model_dump(mode="json"),
    }
    return extract_clips(reader, one_clip, settings, on_clip)


def _coding(clip: Clip, config: FacsConfig) -> FacsCoding | Rejection:
    if clip.aus is None:
        return Rejection(clip.origin, "not_coded", f"{clip.annotation}: no AUs")
    try:
        return parse_facs(clip.aus, config.alternatives)
    except ValueError as error:
        return Rejection(clip.origin, "unreadable_aus", f"{clip.annotation}: {error}")


def _coded_pair(clip: Clip, coding: FacsCoding, config: FacsConfig) -> AUPair:
    apex, drawn = _intensities(clip, coding, config)
    low, high = config.intensity
    how = [f"FACS codes; apex {clip.apex_rule}"]
    if (np.nan_to_num(coding.intensities) > 0).any():
        how.append(
            "letters A-E as 1-5" if config.letters == "facs" else f"letters A-E as {low:g}-{high:g}"
        )
    if drawn:
        how.append(f"{' '.join(drawn)} drawn from U({low:g}, {high:g}), seed {config.seed}")
    if any(code.uncertain for code in coding.codes):
        how.append("some codes uncertain")
    return AUPair(
        onset=np.zeros(AU_COUNT, dtype=np.float32),
        apex=apex,
        emotion=clip.emotion,
        source="real_mie",
        dataset=clip.database,
        subject=clip.subject,
        clip=clip.clip,
        onset_frame=clip.onset,
        apex_frame=clip.apex,
        estimator="; ".join(how),
    )


def _intensities(clip: Clip, coding: FacsCoding, config: FacsConfig) -> tuple[AUArray, list[str]]:
    """Return the AUs ``(17,)``, and the names of the AUs whose intensity was drawn."""
    low, high = config.intensity
    coded = coding.intensities
    if config.letters == "micro":
        coded = np.where(coded > 0, low + (coded - 1) / (MAX_INTENSITY - 1) * (high - low), coded)
    # One number for every AU, so that a draw does not depend on which others are on. Measured from
    # the upper end: 0 cannot be drawn even if `low` is tiny.
    uniform = high - seeded(config.seed, *clip.key).random(AU_COUNT) * (high - low)
    without_letter = np.isnan(coded)
    apex: AUArray = np.where(without_letter, uniform, coded).astype(np.float32)
    return apex, [AU_NAMES[au] for au in np.flatnonzero(without_letter)]
