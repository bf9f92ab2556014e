"""Build every configuration in one place, and derive flags and parameters from its model.

A field that is marked with `Flag` is an option of the command, a parameter of the Prefect flow and
a keyword of the Python API; all three are generated from the model by `parameters`.
"""

import os
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

Config = TypeVar("Config", bound=BaseModel)


class FrozenConfig(BaseModel):
    """Base of every configuration: immutable; an unknown field, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    inlined: ClassVar[tuple[str, ...]] = ()
    """Groups whose fields may be given without the name of the group."""

    @classmethod
    def inlined_group(cls, values: Mapping[str, Any]) -> str | None:
        """Return that group of `inlined` which fields without a group belong to.

        Args:
            values: The fields that are given so far.
        """
        del values
        return cls.inlined[0] if cls.inlined else None


@dataclass(frozen=True, slots=True)
class Flag:
    """Mark a field as an option of the command, a parameter of the flow and a keyword of the API.

    Attributes:
        name: Name of the parameter; the field's name by default.
        option: Name of the option, where it differs: ``--source`` of the parameter ``sources``.
        short: One-letter option: ``-g``.
        argument: Whether the command takes it by position instead of as an option.
        metavar: Stands for the value in the help.
        choices: Return what may be chosen, for the help. A function, because some lists are read
            from a folder.
        kind: Type of the parameter, where the field itself is a group.
        description: Replaces the field's description.
    """

    name: str = ""
    option: str = ""
    short: str = ""
    argument: bool = False
    metavar: str | None = None
    choices: Callable[[], Sequence[str]] | None = None
    kind: Any = None
    description: str = ""


class Group:
    """Mark a group of fields, to change which of its fields are flags in this model.

    Args:
        model: Model of the fields, for a dictionary that holds changes of them.
        flags: By field of the group: another flag, or None for no flag.
    """

    def __init__(self, model: type[BaseModel] | None = None, **flags: Flag | None) -> None:
        self.model = model
        self.flags = flags


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of a model, as the command, the flow and the API show it.

    Attributes:
        name: Name in flow and API, with underscores.
        place: Dotted name of the field.
        kind: Type of the field.
        default: Its default; None where it has none or must be given.
        description: One sentence, with what may be chosen.
        flag: Its mark.
    """

    name: str
    place: str
    kind: Any
    default: Any
    description: str
    flag: Flag

    @property
    def option(self) -> str:
        """The long option, as ``--image-format``."""
        return self.flag.option or f"--{self.name.replace('_', '-')}"

    @property
    def options(self) -> str:
        """Every spelling on the command line, for messages: ``-r/--recognizer``."""
        if self.flag.argument:
            return (self.flag.metavar or self.name.upper()).strip("[].")
        return "/".join(filter(None, (self.flag.short, self.option)))


@lru_cache
def parameters(model: type[BaseModel]) -> tuple[Parameter, ...]:
    """Return the parameters that a model's flags stand for, in the order of its fields."""
    found: dict[str, Parameter] = {}
    for parameter in _parameters(model, "", {}):
        # Groups that stand for each other may share fields, as the sources of AUs do.
        found.setdefault(parameter.name, parameter)
    return tuple(found.values())


def places(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted field from values by parameter.

    Args:
        model: The model whose flags the parameters are.
        given: Values by parameter. None means not given; a path may stand for its text, and one
            value for a list of one.

    Raises:
        ValueError: There is no such parameter.
    """
    by_name = {parameter.name: parameter for parameter in parameters(model)}
    for name in given:
        if name not in by_name:
            raise ValueError(
                f"{name}: there is no such parameter; there are: {', '.join(by_name)}. Any other "
                "field goes into `settings`"
            )
    return {
        by_name[name].place: _as_given(by_name[name].kind, value)
        for name, value in given.items()
        if value is not None
    }


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
    stored = read_yaml(file) if file else {}
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
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        told = explain(error, model)
        raise ValueError(f"{file}: {told}" if file else told) from None


def _as_given(kind: Any, value: Any) -> Any:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if typing.get_origin(kind) is tuple:
        if isinstance(value, str):
            return (value,)
        return tuple(os.fspath(each) if isinstance(each, os.PathLike) else each for each in value)
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of `field: value` lines; an empty file has none.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not YAML, or something else than fields.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML ({' '.join(str(error).split())})") from None
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
            group = _group(group, str(name)) if _is_model(group) else None
        return f"there is no such field{_there_are(group) if _is_model(group) else ''}"
    # A whole config would hide the message.
    return text if isinstance(part["input"], dict) else f"{text} (given: {part['input']!r})"


def _place(
    model: Any, fields: dict[str, Any], names: Sequence[str], value: Any, before: str = ""
) -> None:
    """Put a value in its place among the fields of a model, or of a free dictionary."""
    name, *rest = names
    path = f"{before}{name}"
    if not _is_model(model):
        if rest:
            inner = fields.get(name)
            fields[name] = inner if isinstance(inner, dict) else {}
            _place(None, fields[name], rest, value, f"{path}.")
        else:
            fields[name] = value
        return
    if name not in model.model_fields:
        raise ValueError(f"{path}: there is no such field{_there_are(model)}")
    group = _group(model, name)
    if rest and group is None:
        raise ValueError(f"{path}.{rest[0]}: {path!r} is no group of fields")
    if not rest and not (_is_model(group) and isinstance(value, dict)):
        fields[name] = value
        return
    inner = _opened(model, fields, name, path)
    if rest:
        _place(group, inner, rest, value, f"{path}.")
    else:
        for key, each in value.items():
            _place(group, inner, [str(key)], each, f"{path}.")


def _opened(model: type[BaseModel], fields: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    """Return the fields of a group, with what the model sets in it, to put values into."""
    group = _group(model, name)
    current = fields.get(name)
    if current is None:
        current = _default(model.model_fields[name])
        current = dict(current) if isinstance(current, dict) else current
        if isinstance(current, BaseModel):
            current = current.model_dump(exclude_unset=True)
    elif _is_model(group) and not isinstance(current, dict):
        try:  # A short form, as `drift: true`.
            current = group.model_validate(current).model_dump()
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
        if names[0] in _group(model, inlined).model_fields:
            return [inlined, *names]
        raise ValueError(
            f"{name}: there is no such field{_there_are(model)}, "
            f"{', '.join(_group(model, inlined).model_fields)}"
        )
    return names


def _there_are(model: type[BaseModel]) -> str:
    return f"; there are: {', '.join(model.model_fields)}"


def _parameters(
    model: type[BaseModel], before: str, flags: Mapping[str, Flag | None]
) -> Iterator[Parameter]:
    alternatives = getattr(model, "inlined", ())
    for name, field in model.model_fields.items():
        marks = {type(mark): mark for mark in field.metadata}
        flag = flags.get(name, marks.get(Flag))
        mark = marks.get(Group, Group())
        group = _group(model, name)
        if flag is not None:
            yield _parameter(name, f"{before}{name}", field, flag)
        elif _is_model(group) and name not in flags:
            # Of groups that stand for each other, the values decide which one is meant.
            several = name in alternatives and len(alternatives) > 1
            inner = _parameters(group, before if several else f"{before}{name}.", mark.flags)
            # Changes of other defaults have none of their own.
            yield from (replace(each, default=None) for each in inner) if mark.model else inner


def _parameter(name: str, place: str, field: FieldInfo, flag: Flag) -> Parameter:
    kind = flag.kind or _plain(field.annotation)
    told = flag.description or field.description or ""
    told = told[:1].upper() + told[1:]
    chosen = flag.choices() if flag.choices else ()
    if chosen:
        told += f"{'. ' if told else ''}One of: {', '.join(chosen)}"
    default = _default(field)
    if flag.kind is not None:
        default = False if kind is bool else None
    told += "" if told.endswith(".") else "."
    return Parameter(flag.name or name, place, kind, default, told, flag)


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _group(model: Any, name: str) -> Any:
    """Return the model of a group of fields, `dict` for a free dictionary, None for one value."""
    if not _is_model(model) or name not in model.model_fields:
        return None
    field = model.model_fields[name]
    kind = _plain(field.annotation)
    changed = next((mark.model for mark in field.metadata if isinstance(mark, Group)), None)
    if changed or _is_model(kind):
        return changed or kind
    return dict if typing.get_origin(kind) is dict or kind is dict else None


def _plain(annotation: Any) -> Any:
    """Return a type without `Annotated` and without `None`."""
    while True:
        origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated:
            annotation = inside[0]
        elif origin in (Union, types.UnionType) and type(None) in inside and len(inside) == 2:
            annotation = next(each for each in inside if each is not type(None))
        else:
            return annotation


def choices_of(kind: Any) -> tuple[str, ...]:
    """Return the values of a `Literal`; none for another type."""
    return tuple(map(str, typing.get_args(kind))) if typing.get_origin(kind) is Literal else ()


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
