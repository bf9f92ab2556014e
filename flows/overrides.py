"""A synthesis config from a file and from single values that override it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from miex.datasets.config import explain
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
    fields = (SynthesisConfig.from_yaml(path) if path else SynthesisConfig()).model_dump()
    for name, value in overrides.items():
        _place(fields, name, value)
    try:
        return SynthesisConfig(**fields)
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Reads ``name=value`` words; a value is YAML, so that ``0.5``, ``true``, ``[1, 2]`` work.

    Raises:
        ValueError: A word without ``=``, or a value that is not YAML.
    """
    values = {}
    for word in assignments:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise ValueError(f"expected NAME=VALUE, as in quality.max_attempts=9, not {word!r}")
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            problem = " ".join(str(error).split())
            raise ValueError(f"{name}: the value {text!r} cannot be read ({problem})") from None
    return values


def _place(fields: dict[str, Any], name: str, value: Any) -> None:
    *parents, leaf = name.split(".")
    for depth, parent in enumerate(parents):
        inner = fields.get(parent)
        if not isinstance(inner, dict):
            given = ".".join(parents[: depth + 1])
            raise ValueError(f"{name}: {given!r} is no group of fields of the config")
        fields = inner
    if leaf not in fields and parents[:1] != ["emotion_weights"]:
        known = ", ".join(fields)
        raise ValueError(f"{name}: the config has no field {leaf!r} there; it has: {known}")
    fields[leaf] = value
