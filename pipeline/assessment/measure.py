"""Rendering of the cases of a face with a generator, and measures of the rendered frames."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AUArray
from miex.datasets.base import Face
from miex.generators.base import FaceGenerator, told
from miex.generators.ganimation.teacher import face_area
from miex.pipeline.assessment.cases import Case
from miex.pipeline.assessment.realism import Embed, scaled
from miex.pipeline.aus.fidelity import AUReader
from miex.pipeline.faces.crop import eye_centre_distance
from miex.pipeline.synthesis.quality import motion_between

_REFERENCE_SIDE = 128
"""Side in pixels of the frame to which motion in pixels refers."""


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """Measures of one generator on F faces and C cases, with E estimators.

    Attributes:
        asked: ``(F, C, 17)`` requested change of the AUs from onset to apex.
        found: ``(F, C, E, 17)`` estimated change, NaN where not measured.
        at_rest: ``(F, E, 17)`` AUs estimated in the photographs.
        motion: ``(F, C)`` motion in pixels of a frame of 128, see `quality.motion_between`.
        motion_iod: ``(F, C)`` the same in inter-ocular distances, measured between the eye
            centres.
        outside: ``(F, C)`` mean change outside the face from the photograph to the apex, grey
            levels of 255.
        equal: ``(F, C)`` whether onset and apex have equal pixels.
        looks: ``(F, K)`` indices of the cases whose apex was embedded.
        distance: ``(F, K)`` Euclidean distance between dlib's embeddings of these apex frames and
            of the photograph.
        rendered: Features of these apex frames by embedding, ``(F, K, D)``, root mean square 1.
        real: Features of the photographs by embedding, ``(F, D)``, root mean square 1.
    """

    asked: NDArray[np.float32]
    found: NDArray[np.float32]
    at_rest: NDArray[np.float32]
    motion: NDArray[np.float32]
    motion_iod: NDArray[np.float32]
    outside: NDArray[np.float32]
    equal: NDArray[np.bool_]
    looks: NDArray[np.int64]
    distance: NDArray[np.float32]
    rendered: Mapping[str, NDArray[np.float32]]
    real: Mapping[str, NDArray[np.float32]]

    @classmethod
    def join(cls, parts: Sequence["Measurements"]) -> "Measurements":
        """Concatenate measurements along the faces."""
        joined: dict[str, Any] = {}
        for field in fields(cls):
            values = [getattr(part, field.name) for part in parts]
            if isinstance(values[0], Mapping):
                joined[field.name] = {
                    name: np.concatenate([value[name] for value in values]) for name in values[0]
                }
            else:
                joined[field.name] = np.concatenate(values)
        return cls(**joined)

    def save(self, path: Path) -> None:
        """Write the measurements to an NPZ file."""
        flat: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                flat |= {f"{field.name}/{name}": array for name, array in value.items()}
            else:
                flat[field.name] = value
        with path.open("wb") as file:
            np.savez(file, **flat)

    @classmethod
    def load(cls, path: Path) -> "Measurements":
        """Read an NPZ file that `save` wrote."""
        content: dict[str, Any] = {"rendered": {}, "real": {}}
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                name, slash, inner = key.partition("/")
                if slash:
                    content[name][inner] = file[key]
                else:
                    content[name] = file[key]
        return cls(**content)


@dataclass(frozen=True, slots=True)
class Instruments:
    """Estimators and embeddings of an assessment.

    Attributes:
        readers: AU estimators; the first one decides about targets.
        identity: dlib's identity embedding.
        embeddings: Embeddings for realism, by name.
    """

    readers: Sequence[AUReader]
    identity: Embed
    embeddings: Mapping[str, Embed]


@dataclass(frozen=True, slots=True, eq=False)
class RenderedCases:
    """The rendered frames of one face.

    Attributes:
        onset: Row in `frames` of the onset of each case.
        apex: Row in `frames` of the apex of each case.
        frames: ``uint8 (U, S, S, 3)`` RGB; frames with equal AUs are rendered once.
    """

    onset: Sequence[int]
    apex: Sequence[int]
    frames: NDArray[np.uint8]


def render_cases(face: Face, generator: FaceGenerator[Any], cases: Sequence[Case]) -> RenderedCases:
    """Render the onset and the apex of every case on one face."""
    rows: dict[bytes, int] = {}
    vectors: list[AUArray] = []
    asked = [told(generator, np.stack([case.onset, case.apex])) for case in cases]
    for pair in asked:
        for vector in pair:
            if rows.setdefault(vector.tobytes(), len(vectors)) == len(vectors):
                vectors.append(vector)
    state = generator.prepare(face)
    with warnings.catch_warnings():
        # The higher intensities exceed the range of some generators on purpose.
        warnings.filterwarnings("ignore", "intensity .* is above")
        frames = generator.render([state] * len(vectors), np.stack(vectors))
    onset = [rows[before.tobytes()] for before, _ in asked]
    apex = [rows[after.tobytes()] for _, after in asked]
    return RenderedCases(onset, apex, frames)


def measure_face(
    face: Face,
    generator: FaceGenerator[Any],
    cases: Sequence[Case],
    looks: Sequence[int],
    instruments: Instruments,
) -> Measurements:
    """Render and measure all cases of one face.

    Args:
        face: The template.
        generator: The generator.
        cases: C cases.
        looks: Indices of the K cases whose apex is embedded; embedding every apex would be slow.
        instruments: Estimators and embeddings.

    Returns:
        Measurements with F = 1.
    """
    rendered = render_cases(face, generator, cases)
    frames = rendered.frames
    pairs = list(zip(rendered.onset, rendered.apex, strict=True))
    estimates = [reader.read(face, [*frames, face.crop]).aus for reader in instruments.readers]
    found = np.stack([aus[rendered.apex] - aus[rendered.onset] for aus in estimates], axis=1)
    pixels = np.array([motion_between(frames[a], frames[b]) for a, b in pairs])
    seen = [frames[rendered.apex[look]] for look in looks]
    person = instruments.identity(face.crop, face.landmarks)
    people = np.stack([instruments.identity(frame, face.landmarks) for frame in seen])
    features = {
        name: np.stack(
            [scaled(one) for one in [*people, person]]
            if embed is instruments.identity
            else [scaled(embed(frame, face.landmarks)) for frame in [*seen, face.crop]]
        )
        for name, embed in instruments.embeddings.items()
    }
    return Measurements(
        asked=np.stack([case.apex - case.onset for case in cases])[None],
        found=found[None],
        at_rest=np.stack([aus[-1] for aus in estimates])[None],
        motion=(pixels * _REFERENCE_SIDE / frames.shape[1])[None].astype(np.float32),
        motion_iod=(pixels / eye_centre_distance(face.landmarks))[None].astype(np.float32),
        outside=_outside(face, frames)[rendered.apex][None],
        equal=np.array([[np.array_equal(frames[a], frames[b]) for a, b in pairs]]),
        looks=np.asarray(looks, np.int64)[None],
        distance=np.linalg.norm(people - person, axis=1)[None].astype(np.float32),
        rendered={name: rows[:-1][None] for name, rows in features.items()},
        real={name: rows[-1][None] for name, rows in features.items()},
    )


def _outside(face: Face, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean change of each frame outside the face, grey levels."""
    area = face_area(face.landmarks[None], face.crop.shape[0])[0] == 0
    if not area.any():
        return np.zeros(len(frames), np.float32)
    change = np.abs(frames[:, area].astype(np.float32) - face.crop[area].astype(np.float32))
    return np.asarray(change.mean(axis=(1, 2)), np.float32)
