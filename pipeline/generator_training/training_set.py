"""Makes a generator's training set: every photograph of a face set with its AUs, split by person.

The AUs are measured in the very crops that the generator learns from, as those of its results
will be. Two passes: the first measures and keeps 17 numbers a photograph in memory, the second
encodes the photographs and writes them split by split.
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
from miex.pipeline.faces.table import FaceTable, floats
from miex.pipeline.generator_training.config import TrainingSetConfig, training_face_config
from miex.pipeline.generator_training.split import same_person_groups, split_identities
from miex.pipeline.workers import cores, map_in_threads

Progress = Callable[[str, int, int], None]
"""(stage: ``faces``, ``AUs`` or ``crops``; photographs done; photographs in all)."""

_LANDMARK_STEP = 1 / 64
"""Pixels to which landmarks are rounded: a hundredth of their error, and half the bytes."""

_LOSS_PHOTOGRAPHS = 256
"""On how many photographs the loss by the encoding is measured."""


def make_training_set(
    faces: str | Path,
    out: Path,
    config: TrainingSetConfig | None = None,
    *,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> TrainingSet:
    """Makes a training set, or opens the one that was made from the same.

    Args:
        faces: A face table (.parquet), or a source of faces as for `miex faces`. Of a source the
            table is prepared beside the set, `NAME.faces.parquet`, and reused by the next call.
        out: The training set, ending in .parquet.
        config: How.
        workers: Processes of the face preparation; all cores by default.
        on_progress: Called now and then.

    Raises:
        ValueError: A source, an estimator or an output that does not fit; too few people; AU
            labels that nothing confirms; or `out` holds something else.
        FileNotFoundError: The faces or a model are not there.
        ModuleNotFoundError: A package that an estimator needs is not installed.
        DiskFullError: The disk is full.
    """
    config = config or TrainingSetConfig()
    if out.suffix != ".parquet":
        raise ValueError(f"{out}: a training set ends in .parquet")
    # Before the faces, which take minutes: a wrong estimator shall be told at once.
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
    faces: str, out: Path, config: TrainingSetConfig, workers: int | None, tell: Progress
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
            f"more; prepare them again with `miex faces --set size={config.size}`, or ask for "
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
            f"{out} holds a training set that was made from other faces, with another estimator "
            "or another config; give another path, or delete it to make it again"
        )
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Labels:
    """What the first pass found.

    Attributes:
        rows: Of the face table, those of the N photographs that have AUs.
        identities: N names.
        splits: N splits.
        aus: ``float32 (N, 17)``.
        agreement: How far they may be trusted.
        same_person: Names kept together.
        without_aus: Photographs that the estimator could not measure.
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
    tell: Progress,
) -> _Labels:
    """Measures every photograph, judges the AUs, and splits the identities."""
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
    alike = same_person_groups(
        identities, embeddings.reshape(-1, 128)[kept], config.same_person_distance
    )
    splits = _split(identities, alike, config)
    return _Labels(kept, identities, splits, aus, agreements, alike, len(table) - len(kept))


def _nothing_trusted(labeller: AUEstimator, agreements: Sequence[AUAgreement]) -> str:
    reasons = Counter(one.reason for one in agreements)
    return (
        f"no AU that {labeller.name} measured may be trusted ({reasons.most_common(1)[0][0]}); "
        "name a second estimator with --check, or trust them unconfirmed with "
        "--set min_agreement=0"
    )


def _split(
    identities: Sequence[str], alike: Sequence[Sequence[str]], config: TrainingSetConfig
) -> list[Split]:
    count = len(set(identities))
    sizes = {
        # The assessment's people first: no other size changes who they are.
        "held_out": min(config.held_out, max(1, round(config.held_out_share * count))),
        "validation": min(config.validation, max(1, round(config.validation_share * count))),
    }
    chosen = split_identities(identities, alike, sizes, "train", config.seed)
    by_name: dict[str, Split] = {split: split for split in SPLITS}
    return [by_name[chosen[name]] for name in identities]


def _batches(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), ROWS_PER_GROUP):
        yield rows[start : start + ROWS_PER_GROUP]


@dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    """A photograph at the size of the training set: see `Face` for the attributes."""

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
    # Pixel centres lie at whole numbers: the corner of the image is at -0.5.
    points = (face.landmarks + 0.5) * scale - 0.5
    landmarks = (np.round(points / _LANDMARK_STEP) * _LANDMARK_STEP).astype(np.float32)
    return _Crop(crop, landmarks, face.origin)


def _rows(
    table: FaceTable, config: TrainingSetConfig, labels: _Labels, tell: Progress
) -> Iterator[TrainingRow]:
    """The photographs, split by split, in the order of the face table."""
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
    # Huffman tables of its own make an image of this size 8 % smaller, without loss.
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
    """The config without the paths of this machine."""
    settings = config.model_dump(mode="json")
    settings["estimator"] = config.estimator.partition(":")[0]
    settings["checks"] = [spec.partition(":")[0] for spec in config.checks]
    if config.calibration not in ("shipped", "none"):
        settings["calibration"] = Path(config.calibration).name
    return settings


def _psnr(table: FaceTable, config: TrainingSetConfig, labels: _Labels) -> float:
    """Mean loss by the encoding, dB, over photographs spread over the whole set."""
    spread = np.linspace(0, len(labels.rows) - 1, min(_LOSS_PHOTOGRAPHS, len(labels.rows)))
    values = []
    for face in table.load(labels.rows[spread.round().astype(int)].tolist()):
        crop = _resized(face, config.size).crop
        buffer = np.frombuffer(_encode(crop, config), np.uint8)
        decoded = np.asarray(cv2.imdecode(buffer, cv2.IMREAD_COLOR))
        values.append(cv2.PSNR(crop, cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)))
    return round(float(np.mean(values)), 2)
