"""A synthesis config from a file and from single values that override it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miex.datasets.config import build
from miex.pipeline.synthesis.config import SynthesisConfig

FIELDS = {
    "name": "name",
    "seed": "seed",
    "faces": "faces",
    "identities": "identities",
    "samples": "samples",
    "au_triplets": "au_triplets",
    "sources": "sources",
    "label_space": "label_space",
    "intensity": "intensity",
    "frames": "sequence.frames",
    "easing": "sequence.easing",
    "back_to_offset": "sequence.back_to_offset",
    "drift": "drift",
    "generator": "generator.name",
    "checkpoint": "generator.checkpoint",
    "device": "generator.device",
    "image_format": "image.format",
}
"""Which field of the config a flag of the command or a parameter of the flow sets."""


def chosen(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some flags or parameters that set a field of the config and were given, by field."""
    return {
        field: values[name]
        for name, field in FIELDS.items()
        if values.get(name) not in (None, (), [])
    }


def configure(path: Path | None, overrides: Mapping[str, Any]) -> SynthesisConfig:
    """The config that a command or a flow works with.

    Args:
        path: A YAML file; the defaults of `SynthesisConfig` without one.
        overrides: Values by field, nested fields with dots: ``{"generator.batch_size": 64}``.
            They win over the file. A value of None sets a field to nothing.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A field that does not exist or a value that does not fit; every one is named.
    """
    return build(SynthesisConfig, overrides, path)
