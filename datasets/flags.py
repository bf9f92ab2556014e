"""Mark fields of config models as flags, and list the parameters that they stand for.

A marked field is an option of the command, a parameter of the Prefect flow and a keyword of the
Python API; all three are generated from `parameters`.
"""

import os
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo


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


def _as_given(kind: Any, value: Any) -> Any:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if typing.get_origin(kind) is tuple:
        if isinstance(value, str):
            return (value,)
        return tuple(os.fspath(each) if isinstance(each, os.PathLike) else each for each in value)
    return value


def _parameters(
    model: type[BaseModel], before: str, flags: Mapping[str, Flag | None]
) -> Iterator[Parameter]:
    alternatives = getattr(model, "inlined", ())
    for name, field in model.model_fields.items():
        marks = {type(mark): mark for mark in field.metadata}
        flag = flags.get(name, marks.get(Flag))
        mark = marks.get(Group, Group())
        group = group_of(model, name)
        if flag is not None:
            yield _parameter(name, f"{before}{name}", field, flag)
        elif is_model(group) and name not in flags:
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
    default = default_of(field)
    if flag.kind is not None:
        default = False if kind is bool else None
    told += "" if told.endswith(".") else "."
    return Parameter(flag.name or name, place, kind, default, told, flag)


def default_of(field: FieldInfo) -> Any:
    """Return the default of a field; None for one that must be given."""
    return None if field.is_required() else field.get_default(call_default_factory=True)


def group_of(model: Any, name: str) -> Any:
    """Return the model of a group of fields, `dict` for a free dictionary, None for one value."""
    if not is_model(model) or name not in model.model_fields:
        return None
    field = model.model_fields[name]
    kind = _plain(field.annotation)
    changed = next((mark.model for mark in field.metadata if isinstance(mark, Group)), None)
    if changed or is_model(kind):
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


def is_model(kind: Any) -> bool:
    """Return whether a type is a model of fields."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)
