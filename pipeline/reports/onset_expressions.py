"""Find onsets that show the label of their sample already, or its opposite."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_NUMBERS
from miex.datasets.labels import LABEL_SPACES, parse_emotion
from miex.pipeline.faces.rest import expressions_of
from miex.pipeline.reports.charts import percent
from miex.pipeline.reports.evidence import Evidence, Finding
from miex.pipeline.reports.samples import Samples
from miex.pipeline.reports.selection import open_shard

_SHOWN_FROM = 1.5
"""Intensity by landmarks from which a photograph shows an AU, the upper end of the intensities that
MiE-X draws: the expression that is asked for then changes less than the face shows already."""

_WARN_SHARE = 0.1
"""Share of such samples from which the report warns."""

_AU02, _AU12, _AU25 = (AU_NUMBERS.index(number) for number in (2, 12, 25))

_BATCH = 4096


def expressive_onsets(evidence: Evidence) -> Iterable[Finding]:
    """Report onsets with a smile or with raised brows and an open mouth.

    Only these are looked for, because landmarks show them well. A smile is the label of a positive
    sample and the opposite of a negative one; raised brows with an open mouth are the label of
    surprise.
    """
    samples = evidence.samples
    if samples.dataset is None:
        return
    templates = dict.fromkeys(samples.template)
    aus = expressions_of(_landmarks(samples))
    of_template = {name: row for row, name in enumerate(templates)}
    rows = np.array([of_template[name] for name in samples.template])
    known = np.nan_to_num(aus)
    smiles = (known[:, _AU12] >= _SHOWN_FROM)[rows]
    surprised = (np.minimum(known[:, _AU02], known[:, _AU25]) >= _SHOWN_FROM)[rows]
    classes = np.array([_coarse(name) for name in samples.emotion])
    same = (smiles & (classes == "positive")) | (surprised & (classes == "surprise"))
    opposite = smiles & (classes == "negative")
    count, total = int(same.sum() + opposite.sum()), len(samples)
    if not count:
        text = f"No onset shows the label of its sample or its opposite ({len(templates):,} faces)."
        yield Finding("expressive_onsets", "good", text, 0, "faces")
        return
    text = (
        f"In {int(same.sum()):,} of {total:,} samples the onset shows the label already (a smile, "
        f"or raised brows with an open mouth), in {int(opposite.sum()):,} its opposite (a smile in "
        f"a negative sample): intensity {_SHOWN_FROM:g} and more by landmarks, "
        f"{percent(count / total)} of the samples. To use only faces without such an expression: "
        f"miex faces PHOTOGRAPHS --set max_expression={_SHOWN_FROM:g}"
    )
    severity: Any = "warning" if count / total > _WARN_SHARE else "note"
    names = tuple(samples.sample_id[row] for row in np.flatnonzero(same | opposite)[:5].tolist())
    yield Finding("expressive_onsets", severity, text, count, "faces", names)


def _coarse(name: str) -> str:
    """Return the class of an emotion in three classes, or "" if it has none."""
    try:
        return LABEL_SPACES["three_class"].merge[parse_emotion(name)] or ""
    except (ValueError, KeyError):
        return ""


def _landmarks(samples: Samples) -> NDArray[np.float32]:
    """Return the landmarks ``(N, 68, 2)`` of every template, in order of its first sample."""
    assert samples.dataset is not None
    seen: set[str] = set()
    found: list[NDArray[np.float32]] = []
    at = 0
    for path in samples.dataset.intact_shards():
        with open_shard(path) as file:
            for batch in file.iter_batches(_BATCH, columns=["landmarks"]):
                points = _points(batch.column("landmarks"))
                for row in range(len(batch)):
                    template = samples.template[at + row]
                    if template not in seen:
                        seen.add(template)
                        found.append(points[row])
                at += len(batch)
    return np.stack(found)


def _points(column: pa.Array) -> NDArray[np.float32]:
    values = column.flatten().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32).reshape(len(column), -1, 2)
