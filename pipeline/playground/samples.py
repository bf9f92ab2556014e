"""Samples that were made by hand, kept as a dataset folder that every command accepts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from miex.au_sources.expert import ExpertSource
from miex.au_sources.expert_table import load_table
from miex.datasets.dataset_format import ABSENT, SCHEMA
from miex.datasets.encoding import encode_frame
from miex.datasets.labels import LABEL_SPACES, Emotion, parse_emotion
from miex.datasets.locks import locked
from miex.datasets.seals import check_seal
from miex.generators.base import GeneratorConfig
from miex.pipeline.faces.crop import eye_centre_distance
from miex.pipeline.make_dataset import write_card_and_report
from miex.pipeline.playground.studio import Shot, Studio
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.manifest import (
    BY_HAND,
    Origin,
    build_manifest,
    identify,
    write_manifest,
)
from miex.pipeline.synthesis.shard_files import schema_with_metadata, shard_path, write_shard

_SPACE = LABEL_SPACES["three_class"]

_REMEDY = "give another folder, or delete this one"


def save_sample(studio: Studio, shot: Shot, folder: Path, emotion: str, table: str) -> str:
    """Append an expression to a dataset folder.

    The folder has one shard, which is written anew with all earlier samples, and the manifest, the
    card and the pictures of a synthesized dataset. Its AU source is ``by-hand:TABLE``: the AUs
    were set on the page, beginning with a draw from the table.

    Args:
        studio: Where the face and the generator come from.
        shot: The expression.
        folder: The folder; created if it does not exist.
        emotion: Fine emotion of the sample, such as ``happiness``.
        table: Expert table that was chosen on the page.

    Returns:
        Id of the sample.

    Raises:
        ValueError: Onset and apex are equal, the emotion has no class, or the folder is damaged or
            holds something else.
        DiskFullError: The disk is full; the samples that were there before are still there.
    """
    if not (shot.onset != shot.apex).any():
        raise ValueError("nothing moves in this sample; raise an Action Unit before saving")
    shown = parse_emotion(emotion)
    label = _SPACE.label(shown)
    if label is None:
        raise ValueError(f"{emotion} belongs to no class of {_SPACE.name}; choose another emotion")
    with locked(folder):
        rows = _rows(folder)
        sample_id = f"{BY_HAND}-{len(rows):08d}"
        rows.append(_row(shot, sample_id, label, shown, _source(table)))
        _write(studio, folder, rows)
    return sample_id


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Return the samples of a folder; of a folder without any, nothing.

    Raises:
        ValueError: The folder holds something else, or the samples are damaged.
    """
    path = folder / shard_path(0, 1)
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} holds something else than samples of miex app; {_REMEDY}")
        return []
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}); {_REMEDY}") from None
    check_seal(path, _REMEDY)
    rows: list[dict[str, Any]] = table.to_pylist()
    if not table.schema.equals(SCHEMA) or not all(
        row["au_estimator"].startswith(BY_HAND) for row in rows
    ):
        raise ValueError(f"{folder} holds a dataset that miex app did not make; {_REMEDY}")
    return rows


def _source(table: str) -> dict[str, Any]:
    source = ExpertSource(load_table(table))
    return {
        "spec": f"{BY_HAND}:{table}",
        "name": source.name,
        "description": f"{BY_HAND}:{table}, set by hand from {source.description}",
        "sha256": source.sha256,
        "citation": source.citation,
        "licence": source.licence,
        "measured_on": list(source.measured_on),
        "classes": [name for name in _SPACE.classes if name in source.classes],
    }


def _row(
    shot: Shot, sample_id: str, label: int, emotion: Emotion, source: Mapping[str, Any]
) -> dict[str, Any]:
    image = SynthesisConfig().image
    frames = [encode_frame(frame, image) for frame in (shot.onset, shot.apex)]
    known: dict[str, Any] = {
        "sample_id": sample_id,
        "identity": shot.face.identity,
        "label": label,
        "emotion": _SPACE.classes[label],
        "fine_emotion": "" if emotion.is_coarse else str(emotion),
        "au_source": source["name"],
        "aus": [[0.0] * len(shot.aus), shot.aus.tolist()],
        "frames": [
            {"bytes": content, "path": f"{sample_id}_{number:03d}.{image.format}"}
            for number, content in enumerate(frames)
        ],
        "apex_index": 1,
        "landmarks": shot.face.landmarks.tolist(),
        "au_estimator": source["description"],
        "template": shot.face.origin,
        "template_sha256": shot.face.sha256,
        "generator": shot.generator,
        "generator_sha256": shot.generator_sha256 or "",
        "seed": 0,
        "attempt": 0,
        "asymmetry": 0.0,
        "motion": shot.motion,
        "motion_iod": shot.motion / eye_centre_distance(shot.face.landmarks),
    }
    return {**dict.fromkeys(SCHEMA.names), **ABSENT, **known}


def _write(studio: Studio, folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write shard, manifest, card and pictures of a folder."""
    sources = _sources(rows)
    generators = [studio.generator(name) for name in sorted({row["generator"] for row in rows})]
    config = SynthesisConfig(
        name=BY_HAND,
        faces=studio.faces_from,
        sources=tuple(source["spec"] for source in sources),
        samples=len(rows),
        generator=GeneratorConfig(name=generators[0].name),
    )
    inputs = {
        "faces": {
            "table": studio.faces_from,
            "sha256": studio.faces_sha256,
            "size": config.face_preparation.size,
            "identities": len({row["identity"] for row in rows}),
            "licences": studio.licences(),
            "rejections": {},
        },
        "sources": sources,
        "generator": {
            "name": ", ".join(each.name for each in generators),
            "sha256": generators[0].sha256 if len(generators) == 1 else None,
            "max_intensity": min(each.max_intensity for each in generators),
            "condition": generators[0].condition,
        },
    }
    fingerprint = identify(config, inputs)["fingerprint"]
    schema = schema_with_metadata(config.canonical())
    specs = {source["description"]: source["spec"] for source in sources}
    spec_of = {row["sample_id"]: specs[row["au_estimator"]] for row in rows}.__getitem__
    record = write_shard(folder, 0, 1, range(len(rows)), rows, schema, fingerprint, spec_of)
    origin = Origin(config, inputs, _SPACE, (), len(rows))
    manifest = build_manifest(folder, fingerprint, origin, [record], 1)
    write_manifest(folder, manifest)
    write_card_and_report(folder, manifest)


def _sources(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the description of each source of the samples.

    Raises:
        ValueError: A table has changed since a sample was saved.
    """
    found = []
    for stated in dict.fromkeys(row["au_estimator"] for row in rows):
        source = _source(stated.partition(",")[0].removeprefix(f"{BY_HAND}:"))
        if source["description"] != stated:
            raise ValueError(
                f"these samples began with {stated}, but the table is now "
                f"{source['description']}; give another folder"
            )
        found.append(source)
    return found
