"""What the page of `miex app` computes, without the page.

Faces, generators and the AU estimator are opened when they are first used and kept.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY, AUArray
from miex.au_sources.expert import ExpertSource
from miex.au_sources.expert_table import load_table, table_names
from miex.datasets.base import Face, Photograph, Rejection
from miex.datasets.faces.base import open_face_source
from miex.datasets.labels import parse_emotion
from miex.generators.base import (
    FaceGenerator,
    GeneratorConfig,
    create_generator,
    generator_names,
    told,
)
from miex.pipeline.aus.fidelity import AUReader
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector
from miex.pipeline.faces.preparation import prepare_face
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.reports.motion_panel import flow_length, measure_flow, motion_panel
from miex.pipeline.synthesis.quality import motion_between

Pixels = NDArray[np.uint8]

_NEAR = 9
"""Side in pixels of the neighbourhood of a changed pixel in which motion is shown."""

_LEAST_SCALE = 0.5
"""Smallest motion in pixels that gets the brightest colour, so that noise stays dark."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One rendered expression.

    Attributes:
        face: The template.
        generator: Name of the generator.
        generator_sha256: Hash of its weights, or None.
        aus: ``float32 (17,)``, requested intensities at the apex, 0 to 5; the onset is neutral.
        onset: ``uint8 (S, S, 3)`` RGB.
        apex: ``uint8 (S, S, 3)`` RGB.
        read: ``float32 (17,)``, change of the AUs that the estimator reads; NaN where it measures
            none.
    """

    face: Face
    generator: str
    generator_sha256: str | None
    aus: AUArray
    onset: Pixels
    apex: Pixels
    read: AUArray

    @property
    def motion(self) -> float:
        """Mean length of the optical flow of the fastest 5 % of pixels, pixels of the frame."""
        return motion_between(self.onset, self.apex)

    def motion_image(self, side: int) -> Pixels:
        """Return the optical flow from onset to apex as a picture, ``(side, side, 3)``."""
        # Dense inverse search finds motion of up to half a pixel where two frames are equal.
        changed = (self.onset != self.apex).any(2).astype(np.uint8)
        near = cv2.dilate(changed, np.ones((_NEAR, _NEAR), np.uint8))
        flow = measure_flow(self.onset, self.apex) * near[..., None]
        scale = max(_LEAST_SCALE, float(np.quantile(flow_length(flow), 0.995)))
        return np.asarray(motion_panel(self.onset, flow, scale, side).convert("RGB"), np.uint8)

    def difference(self, gain: float) -> Pixels:
        """Return the change from onset to apex around mid grey, multiplied by `gain`."""
        change = self.apex.astype(np.float32) - self.onset
        return np.asarray(np.clip(128 + gain * change, 0, 255), np.uint8)


@dataclass
class Studio:
    """Faces, generators and an estimator to try expressions with.

    Attributes:
        faces_from: ``samples``, or a face table (.parquet).
        estimator: Estimator that reads the AUs of rendered frames, `NAME` or `NAME:MODEL`.
        device: Where generators compute.
    """

    faces_from: str = "samples"
    estimator: str = "landmarks"
    device: str = "auto"
    _faces: dict[str, Face] = field(default_factory=dict)
    _generators: dict[str, FaceGenerator[Any]] = field(default_factory=dict)
    _prepared: dict[tuple[str, str], Any] = field(default_factory=dict)
    # Requests of a page come in several threads; generators and dlib take one at a time.
    _lock: Lock = field(default_factory=Lock)

    def faces(self) -> list[str]:
        """Return the names of the faces that can be chosen, uploaded ones last.

        Raises:
            FileNotFoundError: There is no such face table.
            ValueError: The face table is damaged.
        """
        with self._lock:
            if not self._faces:
                self._faces |= {face.identity: face for face in self._open_faces()}
            return list(self._faces)

    def face(self, name: str) -> Face:
        """Return a face.

        Raises:
            KeyError: There is no such face.
        """
        self.faces()
        if name not in self._faces:
            raise KeyError(f"there is no face {name!r}")
        return self._faces[name]

    def add_photograph(self, pixels: Pixels) -> str:
        """Prepare a photograph of a person, and return the name of its face.

        Args:
            pixels: ``uint8 (H, W, 3)`` RGB.

        Raises:
            ValueError: No usable face; the message says why.
        """
        self.faces()
        digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:8]
        name = f"upload-{digest}"
        with self._lock, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.png"
            Image.fromarray(pixels).save(path)
            found = prepare_face(
                Photograph(name, path, f"upload:{name}.png"), self._config, self._detector
            )
        if isinstance(found, Rejection):
            raise ValueError(f"{found.reason.replace('_', ' ')}: {found.detail}")
        self._faces[name] = found
        return name

    def generators(self) -> list[str]:
        """Return the names of the generators whose weights are there, the default first."""
        with self._lock:
            for name in generator_names():
                if name not in self._generators:
                    try:
                        config = GeneratorConfig(name=name, device=self.device)
                        self._generators[name] = create_generator(config)
                    except (FileNotFoundError, ImportError, ValueError):
                        continue
        default = GeneratorConfig().name
        return sorted(self._generators, key=lambda name: (name != default, name))

    def generator(self, name: str) -> FaceGenerator[Any]:
        """Return a generator.

        Raises:
            KeyError: There is no such generator, or its weights are missing.
        """
        if name not in self.generators():
            raise KeyError(f"there is no generator {name!r}, or its weights are missing")
        return self._generators[name]

    def licences(self) -> dict[str, str]:
        """Return the terms of the photographs, by source."""
        uploads = any(face.origin.startswith("upload:") for face in self._faces.values())
        own = {"upload": "not stated: the terms of your own photographs"} if uploads else {}
        if self._table is not None:
            return {**self._table.licences, **own}
        source = open_face_source(self.faces_from)
        single = {each.origin: each.licence for each in source.photographs() if each.licence}
        return {source.name: source.licence, **single, **own}

    @property
    def faces_sha256(self) -> str | None:
        """SHA-256 of the face table; None where the faces come from photographs."""
        return None if self._table is None else self._table.sha256

    @staticmethod
    def tables() -> dict[str, list[str]]:
        """Return the emotions of each expert table, by name of the table."""
        return {name: [str(e) for e in load_table(name).emotions] for name in table_names()}

    @staticmethod
    def draw(table: str, emotion: str, seed: int) -> AUArray:
        """Draw the AUs of an emotion from an expert table, ``(17,)``, 0 to 5.

        Raises:
            ValueError: The table does not exist, or lacks the emotion.
        """
        source = ExpertSource(load_table(table))
        return source.draw_apex(parse_emotion(emotion), np.random.default_rng(seed))

    def render(self, face: str, generator: str, aus: Sequence[float] | AUArray) -> Shot:
        """Render an expression of a face, and read its AUs.

        Args:
            face: Name of the face.
            generator: Name of the generator.
            aus: 17 intensities, 0 to 5.

        Raises:
            KeyError: There is no such face or generator.
            ValueError: The intensities are not 17 numbers from 0 to 5.
        """
        wanted = np.asarray(aus, np.float32)
        fits = wanted.shape == (AU_COUNT,) and np.isfinite(wanted).all()
        if not fits or wanted.min() < 0 or wanted.max() > MAX_INTENSITY:
            raise ValueError(f"expected {AU_COUNT} intensities from 0 to {MAX_INTENSITY:g}")
        template = self.face(face)
        chosen = self.generator(generator)
        with self._lock:
            key = (face, generator)
            if key not in self._prepared:
                self._prepared[key] = chosen.prepare(template)
            state = self._prepared[key]
            track = np.stack([np.zeros(AU_COUNT, np.float32), wanted])
            onset, apex = chosen.render([state, state], told(chosen, track))
            read = self._reader.change(template, onset, apex)
        return Shot(template, generator, chosen.sha256, wanted, onset, apex, read)

    @cached_property
    def _config(self) -> FaceConfig:
        return FaceConfig()

    @cached_property
    def _detector(self) -> DlibDetector:
        return DlibDetector(self._config)

    @cached_property
    def _reader(self) -> AUReader:
        return AUReader.create(self.estimator)

    @cached_property
    def _table(self) -> FaceTable | None:
        if not self.faces_from.endswith(".parquet"):
            return None
        return FaceTable.open(Path(self.faces_from).expanduser())

    def _open_faces(self) -> list[Face]:
        if self._table is not None:
            return self._table.load(range(min(len(self._table), 200)))
        photographs = open_face_source(self.faces_from).photographs()
        found = [prepare_face(each, self._config, self._detector) for each in photographs]
        return [face for face in found if isinstance(face, Face)]
