"""Rendering of the rows of a dataset: draw, render, measure, redraw if necessary, and encode."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AUArray
from miex.datasets.base import Face
from miex.datasets.dataset_format import ABSENT
from miex.datasets.encoding import encode_frame
from miex.generators.base import render_with_motion, told
from miex.pipeline.aus.fidelity import sample_fidelity
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.drift import drift_transform, drifted
from miex.pipeline.synthesis.inputs import Inputs
from miex.pipeline.synthesis.plan import Draw
from miex.pipeline.synthesis.quality import Embed, SampleQuality, assess
from miex.pipeline.synthesis.sensor import recorded
from miex.pipeline.synthesis.sides import joined_sides, weaker_aus

_FRAMES_AT_ONCE = 256
"""Number of frames rendered together, which bounds the memory for samples of any length."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A sample that was drawn `QualityConfig.max_attempts` times and never accepted.

    Attributes:
        sample_id: Id of the sample.
        identity: Identity of its template.
        reason: Reason code of the last draw, see `assess`.
        attempts: Number of draws.
        detail: Class, AU source and measures of the last draw.
    """

    sample_id: str
    identity: str
    reason: str
    attempts: int
    detail: str


class _Frame:
    """A rendered frame that is encoded at most once, even if several samples share it.

    Args:
        image: ``uint8 (S, S, 3)`` RGB.
        motion: Its motion from the photograph in pixels, if the generator states it.
    """

    __slots__ = ("_encoded", "image", "motion")

    def __init__(self, image: NDArray[np.uint8], motion: float | None = None) -> None:
        self.image = image
        self.motion = motion
        self._encoded: bytes | None = None

    def encoded(self, config: SynthesisConfig) -> bytes:
        if self._encoded is None:
            self._encoded = encode_frame(self.image, config.image)
        return self._encoded


class Renderer:
    """Renders the samples of a plan.

    Args:
        inputs: Faces, AU sources, plan and generator of the dataset.
        embed: Computes identity embeddings for the samples whose similarity is measured.
    """

    def __init__(self, inputs: Inputs, embed: Embed) -> None:
        self._config = inputs.config
        self._plan = inputs.plan
        self._faces = inputs.faces
        self._sources = inputs.sources
        self._generator = inputs.generator
        self._embed = embed
        self._reader = inputs.reader
        self._prepared: dict[int, tuple[Face, Any]] = {}

    def chunks(self, indices: range) -> Iterator[range]:
        """Divide sample indices into ranges that are rendered together."""
        sequence = self._config.sequence
        frames = 2 * sequence.frames - 1 if sequence.back_to_offset else sequence.frames
        at_once = max(_FRAMES_AT_ONCE, 2 * self._config.generator.batch_size)
        step = max(1, at_once // frames)
        for start in range(indices.start, indices.stop, step):
            yield range(start, min(start + step, indices.stop))

    def rows(self, indices: range) -> Iterator[dict[str, Any] | Rejection]:
        """Render adjacent samples of the plan.

        Args:
            indices: Sample indices.

        Yields:
            For every index, in order, a row of the dataset schema or a rejection.
        """
        done: dict[int, dict[str, Any] | Rejection] = {}
        attempts = dict.fromkeys(indices, 0)
        frames: dict[tuple[int, bytes], _Frame] = {}
        while attempts:
            draws = [self._plan.draw(index, attempt) for index, attempt in attempts.items()]
            self._prepare({draw.face for draw in draws})
            self._render(draws, frames)
            for draw in draws:
                parts = self._parts(draw, frames)
                quality = self._assess(draw, parts)
                if quality.reason is None:
                    done[draw.index] = self._row(draw, parts, quality)
                elif draw.attempt + 1 >= self._config.quality.max_attempts:
                    done[draw.index] = self._rejection(draw, quality)
                else:
                    attempts[draw.index] += 1
                    continue
                del attempts[draw.index]
        for index in indices:
            yield done[index]

    def _prepare(self, rows: set[int]) -> None:
        """Prepare the faces of these rows, and drop all others from the cache."""
        self._prepared = {row: kept for row, kept in self._prepared.items() if row in rows}
        missing = sorted(rows - self._prepared.keys())
        for row, face in zip(missing, self._faces.load(missing), strict=True):
            self._prepared[row] = (face, self._generator.prepare(face))

    def _render(self, draws: Sequence[Draw], frames: dict[tuple[int, bytes], _Frame]) -> None:
        """Render the frames that are not rendered yet; equal AUs on one face are rendered once."""
        wanted = {
            (draw.face, vector.tobytes()): vector
            for draw in draws
            for vectors in self._sides(draw)
            for vector in vectors
        }
        missing = {key: vector for key, vector in wanted.items() if key not in frames}
        if not missing:
            return
        states = [self._prepared[face][1] for face, _ in missing]
        images, motion = render_with_motion(
            self._generator, states, np.stack(list(missing.values()))
        )
        known = [None] * len(images) if motion is None else motion.tolist()
        frames.update(zip(missing, map(_Frame, images, known), strict=True))

    def _sides(self, draw: Draw) -> list[AUArray]:
        """Return the inputs of the generator for the stronger side and, if any, the weaker side."""
        missing = abs(self._plan.asymmetry(draw.index))
        sides = [draw.aus, weaker_aus(draw.aus, 1 - missing)] if missing else [draw.aus]
        return [told(self._generator, aus) for aus in sides]

    def _parts(self, draw: Draw, frames: dict[tuple[int, bytes], _Frame]) -> list[_Frame]:
        """Return the frames of a sample; the two sides of an asymmetric sample are joined."""
        sides = [
            [frames[draw.face, vector.tobytes()] for vector in vectors]
            for vectors in self._sides(draw)
        ]
        if len(sides) == 1:
            return sides[0]
        strong, weak = sides
        left, right = (weak, strong) if self._plan.asymmetry(draw.index) < 0 else (strong, weak)
        landmarks = self._prepared[draw.face][0].landmarks
        return [
            strong[0],
            *(
                _Frame(joined_sides(one.image, other.image, landmarks))
                for one, other in zip(left[1:], right[1:], strict=True)
            ),
        ]

    def _assess(self, draw: Draw, parts: Sequence[_Frame]) -> SampleQuality:
        onset, apex = parts[0], parts[draw.apex_index]
        # It is known from the photograph, which the onset must be, and of symmetric frames only;
        # a dataset holds one kind of measure.
        stated = onset.motion == 0 and not self._config.asymmetry.share
        return assess(
            self._prepared[draw.face][0],
            onset.image,
            apex.image,
            self._config.quality,
            self._embed if self._plan.measures_identity(draw.index) else None,
            apex.motion if stated else None,
        )

    def _fidelity(self, draw: Draw, parts: Sequence[_Frame]) -> float | None:
        """Return the AU fidelity of a sample, or None where it is not measured or not defined."""
        if self._reader is None or not self._plan.measures_fidelity(draw.index):
            return None
        onset, apex = parts[0].image, parts[draw.apex_index].image
        found = self._reader.change(self._prepared[draw.face][0], onset, apex)
        return sample_fidelity(draw.aus[draw.apex_index] - draw.aus[0], found)

    def _rejection(self, draw: Draw, quality: SampleQuality) -> Rejection:
        return Rejection(
            sample_id=self._plan.sample_id(draw.index),
            identity=self._prepared[draw.face][0].identity,
            reason=str(quality.reason),
            attempts=draw.attempt + 1,
            detail=f"{draw.emotion} from {self._config.sources[draw.source]}; last draw moved "
            f"{quality.motion_iod:.4f} inter-ocular distances"
            + (
                ""
                if quality.identity_similarity is None
                else f", identity similarity {quality.identity_similarity:.3f}"
            ),
        )

    def _recorded(self, draw: Draw, parts: Sequence[_Frame]) -> Sequence[_Frame]:
        """Return the frames with head motion, noise and JPEG compression."""
        parts = self._drifted(draw, parts)
        config = self._config.sensor
        if not config.any:
            return parts
        return [
            _Frame(recorded(part.image, config, self._plan.sensor_rng(draw.index, number)))
            for number, part in enumerate(parts)
        ]

    def _drifted(self, draw: Draw, parts: Sequence[_Frame]) -> Sequence[_Frame]:
        """Return the frames with head motion; the onset is unchanged and can be shared."""
        config = self._config.drift
        if not config.any:
            return parts
        landmarks = self._prepared[draw.face][0].landmarks
        change = drift_transform(config, self._plan.drift(draw.index), landmarks)
        later = enumerate(parts[1:], 1)
        moved = [
            _Frame(drifted(part.image, change * number / draw.apex_index)) for number, part in later
        ]
        return [parts[0], *moved]

    def _row(self, draw: Draw, parts: Sequence[_Frame], quality: SampleQuality) -> dict[str, Any]:
        face = self._prepared[draw.face][0]
        sample_id = self._plan.sample_id(draw.index)
        pair = draw.pair
        suffix = self._config.image.format
        row = {
            "sample_id": sample_id,
            "identity": face.identity,
            "label": draw.label,
            "emotion": draw.emotion,
            "fine_emotion": None if pair.emotion.is_coarse else str(pair.emotion),
            "au_source": pair.source,
            "aus": draw.aus.tolist(),
            "frames": [
                {"bytes": part.encoded(self._config), "path": f"{sample_id}_{number:03d}.{suffix}"}
                for number, part in enumerate(self._recorded(draw, parts))
            ],
            "apex_index": draw.apex_index,
            "landmarks": face.landmarks.tolist(),
            "source_dataset": pair.dataset,
            "source_subject": pair.subject,
            "source_clip": pair.clip,
            "source_onset_frame": pair.onset_frame,
            "source_apex_frame": pair.apex_frame,
            "au_estimator": pair.estimator,
            "template": face.origin,
            "template_sha256": face.sha256,
            "generator": self._generator.name,
            "generator_sha256": self._generator.sha256,
            "seed": self._config.seed,
            "attempt": draw.attempt,
            "asymmetry": self._plan.asymmetry(draw.index),
            "motion": quality.motion,
            "motion_iod": quality.motion_iod,
            "identity_similarity": quality.identity_similarity,
            "au_fidelity": self._fidelity(draw, parts),
        }
        absent = {name: value for name, value in ABSENT.items() if row[name] is None}
        return {**row, **absent}
