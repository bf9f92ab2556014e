"""Construction of a generator's training set: photographs with AUs, split by identity.

The AUs are measured in the crops on which the generator is trained, just as the AUs of rendered
frames are measured later. A first pass measures the AUs and keeps 17 numbers per photograph in
memory. A second pass encodes the crops and writes them split by split.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AUArray
from miex.au_sources.calibrated_estimator import create_calibrated_estimator
from miex.au_sources.estimators.base import AUEstimator, create_estimator
from miex.datasets.base import Face
from miex.datasets.encoding import ImageConfig, encode_frame
from miex.datasets.faces.base import open_face_source
from miex.datasets.image_tables import floats
from miex.datasets.locks import locking
from miex.generators.ganimation.training_notes import AUAgreement, TrainingNotes
from miex.generators.ganimation.training_set import (
    FORMAT,
    ROWS_PER_GROUP,
    SPLITS,
    Split,
    TrainingRow,
    TrainingSet,
    write_training_set,
)
from miex.pipeline.aus.agreement import (
    agreement,
    measured_confirmation,
    shipped_confirmations,
)
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.generator_training.config import TrainingSetConfig, training_face_config
from miex.pipeline.generator_training.split import same_person_groups, split_identities
from miex.pipeline.workers import cores, map_in_threads

_Progress = Callable[[str, int, int], None]
"""Progress callback: (stage ``faces``, ``AUs`` or ``crops``; photographs done; in total)."""

_LANDMARK_STEP = 1 / 64
"""Step in pixels to which landmarks are rounded, which halves their size in the file.

It is about a hundredth of the error of the landmarks.
"""

_PSNR_PHOTOGRAPHS = 256
"""Number of photographs on which the PSNR of the encoding is measured."""


@locking("out")
def make_training_set(
    faces: str | Path,
    out: Path,
    config: TrainingSetConfig | None = None,
    *,
    workers: int | None = None,
    on_progress: _Progress | None = None,
) -> TrainingSet:
    """Make a training set, or open the one that was made from the same inputs.

    Args:
        faces: A face table (.parquet), or a source of faces as for `miex faces`. The table of a
            source is written beside the training set as `NAME.faces.parquet` and reused by later
            calls.
        out: The training set, ending in .parquet.
        config: Settings; the defaults of `TrainingSetConfig` if None.
        workers: Number of processes for the face preparation; all cores by default.
        on_progress: Called after each batch of photographs.

    Returns:
        The training set.

    Raises:
        ValueError: The source or an estimator does not exist, the face table holds smaller crops
            than requested, there are too few identities, no AU has reliable labels, or `out` is
            another training set or does not end in .parquet.
        FileNotFoundError: The faces or a model are missing.
        ModuleNotFoundError: A package that an estimator needs is not installed.
        DiskFullError: The disk is full.
    """
    config = config or TrainingSetConfig()
    if out.suffix != ".parquet":
        raise ValueError(f"{out}: the name of a training set must end in .parquet")
    # Opened before the faces are prepared, which takes minutes, so that errors appear at once.
    labeller = create_calibrated_estimator(
        config.estimator, config.calibration, device=config.device, download=config.download
    )
    checks = [
        create_estimator(spec, device=config.device, download=config.download)
        for spec in config.checks
    ]
    tell = on_progress or (lambda stage, done, total: None)
    table = _face_table(str(faces), out, config, workers, tell)
    fingerprint = _fingerprint(table, config, [labeller, *checks])
    if out.exists():
        return _existing(out, fingerprint)
    labels = _measure(table, config, labeller, checks, tell)
    notes = _notes(table, config, labeller, labels, fingerprint)
    write_training_set(out, _rows(table, config, labels, tell), notes)
    return TrainingSet.open(out)


def _face_table(
    faces: str, out: Path, config: TrainingSetConfig, workers: int | None, tell: _Progress
) -> FaceTable:
    if faces.endswith(".parquet"):
        table = FaceTable.open(Path(faces))
    else:
        table = prepare_faces(
            open_face_source(faces),
            out.with_suffix(".faces.parquet"),
            training_face_config(config.size),
            workers=workers,
            on_progress=lambda done, total, _: tell("faces", done, total),
        )
    if table.config.size < config.size:
        raise ValueError(
            f"{table.path} holds crops of {table.config.size} pixels, expected {config.size} or "
            f"more; prepare the faces again with `miex faces --set size={config.size}`, or set "
            f"--size {table.config.size}"
        )
    return table


def _fingerprint(
    table: FaceTable, config: TrainingSetConfig, estimators: Sequence[AUEstimator]
) -> str:
    by_version = {"estimator", "calibration", "checks", "device", "download"}
    settings = config.model_dump(mode="json", exclude=by_version)
    models = [(one.name, one.version) for one in estimators]
    content = json.dumps([FORMAT, table.notes.fingerprint, models, settings], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _existing(out: Path, fingerprint: str) -> TrainingSet:
    found = TrainingSet.open(out)
    if found.notes.fingerprint != fingerprint:
        raise ValueError(
            f"{out} already exists and was made from other faces, with another estimator or "
            "another config; give another path, or delete the file to make it again"
        )
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Labels:
    """Result of the first pass.

    Attributes:
        rows: Rows of the face table of the N photographs that have AUs, ``int64 (N,)``.
        identities: Identity of each photograph.
        splits: Split of each photograph.
        aus: Labels, ``float32 (N, 17)``, NaN where not measured.
        agreement: Decision for each AU whether its labels are used.
        same_person: Groups of names that are in one split.
        without_aus: Number of photographs on which the estimator measured no AU.
    """

    rows: NDArray[np.int64]
    identities: list[str]
    splits: list[Split]
    aus: AUArray
    agreement: tuple[AUAgreement, ...]
    same_person: tuple[tuple[str, ...], ...]
    without_aus: int


def _measure(
    table: FaceTable,
    config: TrainingSetConfig,
    labeller: AUEstimator,
    checks: Sequence[AUEstimator],
    tell: _Progress,
) -> _Labels:
    """Measure every photograph, select the reliable AUs, and split the identities."""
    estimators = [labeller, *checks]
    measured = np.full((len(estimators), len(table), AU_COUNT), np.nan, np.float32)
    for rows in _batches(np.arange(len(table))):
        batch = [_resized(face, config.size) for face in table.load(rows.tolist())]
        landmarks = np.stack([face.landmarks for face in batch])
        for number, estimator in enumerate(estimators):
            found = estimator.estimate([face.crop for face in batch], landmarks)
            measured[number, rows] = found.aus
        tell("AUs", int(rows[-1]) + 1, len(table))
    kept = np.flatnonzero(~np.isnan(measured[0]).all(axis=1))
    if not len(kept):
        raise ValueError(
            f"{labeller.name} measured no AU on any of the {len(table)} faces of {table.path}; "
            "choose another --estimator"
        )
    aus = measured[0, kept]
    identities = [table.identities[row] for row in kept.tolist()]
    confirmations = [
        measured_confirmation(aus, identities, labeller, measured[number, kept], check)
        for number, check in enumerate(checks, start=1)
    ] or shipped_confirmations(labeller)
    agreements = agreement(aus, confirmations, config.min_agreement)
    if not any(one.trusted for one in agreements):
        raise ValueError(_nothing_trusted(labeller, agreements))
    embeddings = floats(pq.read_table(table.path, columns=["embedding"])["embedding"])
    groups = same_person_groups(
        identities, embeddings.reshape(-1, 128)[kept], config.same_person_distance
    )
    splits = _split(identities, groups, config)
    return _Labels(kept, identities, splits, aus, agreements, groups, len(table) - len(kept))


def _nothing_trusted(labeller: AUEstimator, agreements: Sequence[AUAgreement]) -> str:
    reasons = Counter(one.reason for one in agreements)
    return (
        f"the labels of {labeller.name} are not reliable for any AU "
        f"({reasons.most_common(1)[0][0]}); name a second estimator with --check, or use the "
        "labels without a comparison with --set min_agreement=0"
    )


def _split(
    identities: Sequence[str], groups: Sequence[Sequence[str]], config: TrainingSetConfig
) -> list[Split]:
    count = len(set(identities))
    sizes = {
        # Assigned first, so that the held-out identities do not depend on the other sizes.
        "held_out": min(config.held_out, max(1, round(config.held_out_share * count))),
        "validation": min(config.validation, max(1, round(config.validation_share * count))),
    }
    chosen = split_identities(identities, groups, sizes, "train", config.seed)
    by_name: dict[str, Split] = {split: split for split in SPLITS}
    return [by_name[chosen[name]] for name in identities]


def _batches(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), ROWS_PER_GROUP):
        yield rows[start : start + ROWS_PER_GROUP]


@dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    """A crop at the size of the training set; the attributes are those of `Face`."""

    crop: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    origin: str


def _resized(face: Face, size: int) -> _Crop:
    scale = size / len(face.crop)
    crop = face.crop
    if scale != 1:
        crop = np.asarray(
            cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
    # Pixel centres have integer coordinates, so that the corner of the image is at -0.5.
    points = (face.landmarks + 0.5) * scale - 0.5
    landmarks = (np.round(points / _LANDMARK_STEP) * _LANDMARK_STEP).astype(np.float32)
    return _Crop(crop, landmarks, face.origin)


def _rows(
    table: FaceTable, config: TrainingSetConfig, labels: _Labels, tell: _Progress
) -> Iterator[TrainingRow]:
    """Yield the photographs split by split, in the order of the face table."""
    done = 0
    for split in SPLITS:
        members = np.array([i for i, one in enumerate(labels.splits) if one == split], np.int64)
        for batch in _batches(members):
            faces = table.load(labels.rows[batch].tolist())
            crops = [_resized(face, config.size) for face in faces]
            encoded = map_in_threads(lambda crop: _encode(crop.crop, config), crops, cores())
            for index, crop, image in zip(batch.tolist(), crops, encoded, strict=True):
                yield TrainingRow(
                    image=image,
                    suffix=config.image_format,
                    landmarks=crop.landmarks,
                    aus=labels.aus[index],
                    identity=labels.identities[index],
                    origin=crop.origin,
                    split=split,
                )
            done += len(batch)
            tell("crops", done, len(labels.rows))


def _encode(crop: NDArray[np.uint8], config: TrainingSetConfig) -> bytes:
    if config.image_format == "webp":
        return encode_frame(crop, ImageConfig(format="webp"))
    # Optimized Huffman tables make an image of this size 8 % smaller without loss.
    parameters = (
        *(cv2.IMWRITE_JPEG_QUALITY, config.quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    )
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), parameters)[1])


def _notes(
    table: FaceTable,
    config: TrainingSetConfig,
    labeller: AUEstimator,
    labels: _Labels,
    fingerprint: str,
) -> TrainingNotes:
    lossless = config.image_format == "webp"
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        names = [labels.identities[i] for i, one in enumerate(labels.splits) if one == split]
        counts[split] = {"photographs": len(names), "identities": len(set(names))}
    rejections = Counter(table.rejection_counts)
    if labels.without_aus:
        rejections["no_aus"] = labels.without_aus
    source = config.source or table.notes.source
    return TrainingNotes(
        image_size=config.size,
        source=source,
        estimator=labeller.name,
        estimator_version=labeller.version,
        agreement=labels.agreement,
        licences={source: config.licence} if config.licence else dict(table.licences),
        estimator_scale=labeller.scale,
        detector=table.notes.detector,
        encoding="webp, lossless" if lossless else f"jpeg, quality {config.quality}, 4:4:4",
        psnr=None if lossless else _psnr(table, config, labels),
        counts=counts,
        rejections=dict(rejections.most_common()),
        same_person=labels.same_person,
        config=_portable(config),
        fingerprint=fingerprint,
    )


def _portable(config: TrainingSetConfig) -> dict[str, Any]:
    """Return the config without the paths of this machine."""
    settings = config.model_dump(mode="json")
    settings["estimator"] = config.estimator.partition(":")[0]
    settings["checks"] = [spec.partition(":")[0] for spec in config.checks]
    if config.calibration not in ("shipped", "none"):
        settings["calibration"] = Path(config.calibration).name
    return settings


def _psnr(table: FaceTable, config: TrainingSetConfig, labels: _Labels) -> float:
    """Return the mean PSNR of the encoding in dB over photographs spread evenly over the set."""
    spread = np.linspace(0, len(labels.rows) - 1, min(_PSNR_PHOTOGRAPHS, len(labels.rows)))
    values = []
    for face in table.load(labels.rows[spread.round().astype(int)].tolist()):
        crop = _resized(face, config.size).crop
        buffer = np.frombuffer(_encode(crop, config), np.uint8)
        decoded = np.asarray(cv2.imdecode(buffer, cv2.IMREAD_COLOR))
        values.append(cv2.PSNR(crop, cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)))
    return round(float(np.mean(values)), 2)
