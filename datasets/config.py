"""Build every configuration in one place, from a YAML file and from values by dotted name."""

import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from miex.datasets.documents import place_in_yaml
from miex.datasets.flags import default_of, group_of, is_model, parameters
from miex.datasets.given_files import read_text

Config = TypeVar("Config", bound=BaseModel)


LARGEST_COUNT = 10**9
"""Largest whole number of a field that states no upper limit of its own."""


class FrozenConfig(BaseModel):
    """Base of every configuration: immutable; an unknown field, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    inlined: ClassVar[tuple[str, ...]] = ()
    """Groups whose fields may be given without the name of the group."""

    @field_validator("*")
    @classmethod
    def _limit_counts(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a whole number above `LARGEST_COUNT` where no other limit is stated."""
        stated = cls.model_fields[info.field_name or ""].metadata
        limited = any(hasattr(each, "le") or hasattr(each, "lt") for each in stated)
        if type(value) is int and value > LARGEST_COUNT and not limited:
            raise ValueError(f"Input should be less than or equal to {LARGEST_COUNT}")
        return value

    @classmethod
    def inlined_group(cls, values: Mapping[str, Any]) -> str | None:
        """Return that group of `inlined` which fields without a group belong to.

        Args:
            values: The fields that are given so far.
        """
        del values
        return cls.inlined[0] if cls.inlined else None


def build(
    model: type[Config], values: Mapping[str, Any] | None = None, file: Path | None = None
) -> Config:
    """Build a config from a YAML file and from values that win over it.

    Fields that are not given keep the defaults of the model, inside groups as well.

    Args:
        model: Its class.
        values: By field, nested ones with dots: ``{"generator.batch_size": 64}``. None sets a
            field to nothing. In a free dictionary (``emotion_weights.disgust``) any name fits.
        file: A YAML file with fields of the model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A field that does not exist, is missing, or has a value that does not fit;
            the message names each of them, with its flag where it has to be given.
    """
    stored = _read_yaml(file) if file else {}
    given = values or {}
    inlined = None
    if issubclass(model, FrozenConfig):
        inlined = model.inlined_group({**stored, **given})
    fields: dict[str, Any] = {}
    for source, where in ((stored, f"{file}: "), (given, "")):
        for name, value in source.items():
            try:
                _place(model, fields, _whole(model, str(name), inlined), value)
            except ValueError as error:
                raise ValueError(f"{where}{error}") from None
    if inlined and model.model_fields[inlined].is_required():
        fields.setdefault(inlined, {})
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        told = explain(error, model)
        raise ValueError(f"{file}: {told}" if file else told) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of `field: value` lines; an empty file has none.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not YAML, or something else than fields.
    """
    text = read_text(path, "config in YAML", "give a file of `field: value` lines")
    try:
        content = yaml.safe_load(text)
    # The library's message quotes lines of a file that may be anybody's.
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"{path} is not YAML{place_in_yaml(error)}") from None
    if not isinstance(content, dict | None):
        raise ValueError(f"{path}: expected `field: value` lines, found {type(content).__name__}")
    return content or {}


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Parse ``name=value`` words; a value is YAML, so that ``0.5``, ``true``, ``[1, 2]`` work.

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


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Return a pydantic error as one line: each field, what is wrong, and what was given.

    Args:
        error: What pydantic raised.
        model: The model, so that the message can name flags and the fields that exist.
    """
    return "; ".join(
        f"{'.'.join(map(str, part['loc'])) or 'config'}: {_problem(part, model)}"
        for part in error.errors()
    )


def _problem(part: ErrorDetails, model: type[BaseModel] | None) -> str:
    text = part["msg"].removeprefix("Value error, ")
    if part["type"] == "missing" and model:
        place = ".".join(map(str, part["loc"]))
        parameter = next((each for each in parameters(model) if each.place == place), None)
        text = f"is missing; give it with {parameter.options}" if parameter else "is missing"
        return f"{text}. {parameter.description}" if parameter else text
    if part["type"] in ("extra_forbidden", "invalid_key"):
        group: Any = model
        for name in part["loc"][:-1]:
            group = group_of(group, str(name)) if is_model(group) else None
        return f"there is no such field{_there_are(group) if is_model(group) else ''}"
    # A whole config would hide the message.
    return text if isinstance(part["input"], dict) else f"{text} (given: {_brief(part['input'])})"


def _place(
    model: Any, fields: dict[str, Any], names: Sequence[str], value: Any, before: str = ""
) -> None:
    """Put a value in its place among the fields of a model, or of a free dictionary."""
    name, *rest = names
    path = f"{before}{name}"
    if not is_model(model):
        if rest:
            inner = fields.get(name)
            fields[name] = inner if isinstance(inner, dict) else {}
            _place(None, fields[name], rest, value, f"{path}.")
        else:
            fields[name] = value
        return
    if name not in model.model_fields:
        raise ValueError(f"{path}: there is no such field{_there_are(model)}")
    group = group_of(model, name)
    if rest and group is None:
        raise ValueError(f"{path}.{rest[0]}: {path!r} is no group of fields")
    if not rest and value is None and is_model(group) and not _takes_none(model, name):
        fields.pop(name, None)  # An empty group, `clips:` in YAML, is the defaults.
        return
    if not rest and not (is_model(group) and isinstance(value, dict)):
        fields[name] = value
        return
    inner = _opened(model, fields, name, path)
    if rest:
        _place(group, inner, rest, value, f"{path}.")
    else:
        for key, each in value.items():
            _place(group, inner, str(key).split("."), each, f"{path}.")


def _opened(model: type[BaseModel], fields: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    """Return the fields of a group, with what the model sets in it, to put values into."""
    group = group_of(model, name)
    current = fields.get(name)
    if current is None:
        current = default_of(model.model_fields[name])
        current = dict(current) if isinstance(current, dict) else current
        if isinstance(current, BaseModel):
            current = current.model_dump(exclude_unset=True)
    elif is_model(group) and not isinstance(current, dict):
        try:  # A short form, as `drift: true`.
            current = group.model_validate(current).model_dump(exclude_unset=True)
        except ValidationError:
            raise ValueError(f"{path} is {current!r}, no group of fields") from None
    if current is not None and not isinstance(current, dict):
        raise ValueError(f"{path} is {current!r}, no group of fields")
    fields[name] = current or {}
    inner: dict[str, Any] = fields[name]
    return inner


def _whole(model: Any, name: str, inlined: str | None) -> list[str]:
    """Split a dotted name, and put the group before it that it may be given without."""
    names = name.split(".")
    if inlined and names[0] not in model.model_fields:
        if names[0] in group_of(model, inlined).model_fields:
            return [inlined, *names]
        raise ValueError(
            f"{name}: there is no such field{_there_are(model)}, "
            f"{', '.join(group_of(model, inlined).model_fields)}"
        )
    return names


def _there_are(model: type[BaseModel]) -> str:
    return f"; there are: {', '.join(model.model_fields)}"


def _takes_none(model: type[BaseModel], name: str) -> bool:
    return type(None) in typing.get_args(model.model_fields[name].annotation)


def _brief(value: object) -> str:
    """Return a value for a message, cut after its beginning."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"
