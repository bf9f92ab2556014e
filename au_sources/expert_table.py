"""Read expert tables: the probability of each AU given the emotion; data files are in `tables/`."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator, model_validator

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, AU_NUMBERS, MAX_INTENSITY
from miex.datasets.config import FrozenConfig
from miex.datasets.documents import place_in_yaml
from miex.datasets.given_files import read_text
from miex.datasets.labels import Emotion, parse_emotion
from miex.datasets.paths import exists
from miex.datasets.registry import Registry

_PROTOTYPICAL = "prototypical"
"""Stands for `ExpertTable.prototypical_probability` in a table file."""

_FOLDER = Path(__file__).parent / "tables"

_Probability = Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)]
_Intensity = Annotated[float, Field(ge=0, le=MAX_INTENSITY, strict=True, allow_inf_nan=False)]
_Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Text = Annotated[str, Field(min_length=1)]


class AUEntry(FrozenConfig):
    """How an AU takes part in an emotion.

    Attributes:
        probability: That it is on in a draw in which the AUs are independent, 0 to 1.
        intensity: Range of its intensity, 0 to 5; None leaves it to the source.
    """

    probability: _Probability
    intensity: tuple[_Intensity, _Intensity] | None = None

    @field_validator("intensity", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("intensity")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not (value[0] <= value[1] and value[1] > 0):
            raise ValueError("expected [low, high] with 0 <= low <= high and 0 < high")
        return value


class ExpertTable(FrozenConfig):
    """A table of AU probabilities given the emotion.

    Attributes:
        name: Short name.
        version: Changes whenever a figure does.
        citation: The publication that the figures are from.
        source: Where in it, or how they were measured.
        licence: Under which terms the figures may be used.
        description: What a user should know before choosing the table.
        measured_on: Databases of clips that the figures were counted on; whoever tests on their
            people must not train on draws from the table.
        prototypical_probability: The number that the word `prototypical` stands for.
        emotions: Emotion -> AU number -> entry, AUs of the 17 only.
        combinations: Emotion -> AU numbers -> weight: AUs that come together. A draw of such an
            emotion takes one combination by its weight instead of AUs one by one; `emotions` then
            has the probabilities that follow.
        left_out: Emotion -> AU number -> probability, AUs of the source outside the 17.
    """

    name: _Text
    version: Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]
    citation: _Text
    source: _Text
    licence: _Text
    description: str = ""
    measured_on: tuple[_Text, ...] = ()
    prototypical_probability: _Probability | None = None
    emotions: dict[Emotion, dict[int, AUEntry]] = Field(min_length=1)
    combinations: dict[Emotion, dict[tuple[int, ...], _Weight]] = Field(default_factory=dict)
    left_out: dict[Emotion, dict[int, _Probability]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        prototypical = content.get("prototypical_probability")
        expanded = dict(content)
        if isinstance(content.get("combinations"), Mapping):
            together = _expand_combinations(content["combinations"])
            given = content.get("emotions") or {}
            twice = sorted(set(together) & set(_by_emotion(given, "emotions")))
            if twice:
                raise ValueError(
                    f"combinations.{twice[0]}: stands in `emotions` too; keep one of the two"
                )
            marginal = {str(emotion): _marginal(sets) for emotion, sets in together.items()}
            expanded["combinations"] = together
            content = {**content, "emotions": {**given, **marginal}}
        for key in ("emotions", "left_out"):
            if isinstance(content.get(key), Mapping):
                expanded[key] = {
                    emotion: _expand_aus(emotion, aus, key, prototypical)
                    for emotion, aus in _by_emotion(content[key], key).items()
                }
        return expanded

    @model_validator(mode="after")
    def _drawable(self) -> "ExpertTable":
        for emotion, aus in self.emotions.items():
            if emotion.is_coarse:
                raise ValueError(
                    f"emotions.{emotion}: a table describes fine emotions; list sadness, fear, ... "
                    "each for itself"
                )
            for number in aus:
                if number not in AU_NUMBERS:
                    raise ValueError(
                        f"emotions.{emotion}.AU{number:02d}: unknown AU, expected one of "
                        f"{', '.join(AU_NAMES)}; move the line to `left_out`"
                    )
            if not any(entry.probability for entry in aus.values()):
                raise ValueError(
                    f"emotions.{emotion}: no AU has a probability above 0, so it would never show; "
                    "give one, or remove the emotion"
                )
        for emotion, others in self.left_out.items():
            inside = [f"AU{number:02d}" for number in others if number in AU_NUMBERS]
            if inside:
                raise ValueError(
                    f"left_out.{emotion}: {', '.join(inside)} are among the 17; "
                    "move them to `emotions`"
                )
        return self

    @property
    def sha256(self) -> str:
        """Return the hash of name, version and all figures that a draw depends on."""
        figures = self.model_dump(mode="json", include={"name", "version", "emotions"})
        if self.combinations:
            figures["combinations"] = {
                str(emotion): sorted([list(aus), weight] for aus, weight in sets.items())
                for emotion, sets in self.combinations.items()
            }
        content = json.dumps(figures, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def probabilities(self, emotion: Emotion) -> NDArray[np.float64]:
        """Return ``(17,)`` probabilities of the AUs, 0 for those that the table does not list."""
        aus = self.emotions[emotion]
        return np.array([aus[n].probability if n in aus else 0.0 for n in AU_NUMBERS])

    def intensities(self, emotion: Emotion, default: tuple[float, float]) -> NDArray[np.float64]:
        """Return ``(17, 2)`` lower and upper end of every AU's intensity, 0 to 5."""
        ranges = np.tile(np.array(default, dtype=np.float64), (AU_COUNT, 1))
        for number, entry in self.emotions[emotion].items():
            if entry.intensity is not None:
                ranges[AU_NUMBERS.index(number)] = entry.intensity
        return ranges


def cardinality(table: ExpertTable) -> dict[Emotion, float]:
    """Return the expected number of AUs that are on in a draw of each emotion.

    Real micro-expressions show 1.25 to 1.7 (AUs per clip in CASME, CASME II, SAMM, MMEW, 4DME and
    CAS(ME)3; counts of github.com/tvaranka/meb). A draw with no AU on does not occur, so the sum
    of the probabilities is divided by the probability that any is on.
    """
    numbers = {}
    for emotion in table.emotions:
        if emotion in table.combinations:
            sets = table.combinations[emotion]
            numbers[emotion] = sum(len(aus) * weight for aus, weight in sets.items())
            continue
        p = table.probabilities(emotion)
        with np.errstate(divide="ignore"):  # log of an AU that is always on
            any_on = -np.expm1(np.log1p(-p).sum())
        numbers[emotion] = float(p.sum() / any_on)
    return numbers


def _own_tables() -> dict[str, str]:
    return {path.stem: str(path) for path in _FOLDER.glob("*.yaml")}


_TABLES = Registry[Callable[[], Path]]("expert table", _own_tables, "miex.tables")

table_places = _TABLES.places
"""Return the file or package of each table, see `Registry.places`."""


def table_names() -> list[str]:
    """Return the names of all tables, of miex and of installed packages, sorted.

    A new table of miex is one new YAML file in `tables/`. Another package names in its entry
    points `miex.tables` a function without arguments that returns the path of such a file.
    """
    return _TABLES.names()


def _path_of(name: str) -> Path:
    """Return the file of a table.

    Raises:
        ValueError: Two packages claim the name, or the function of a package failed.
    """
    places = table_places()
    if places.get(name) == _own_tables().get(name):
        return Path(places[name])
    found = _TABLES.find(name)()
    if not isinstance(found, str | Path):
        raise ValueError(
            f"expert table {name!r} of {places[name]} is {found!r}, expected the path of a YAML"
            " file; repair or uninstall that package"
        )
    return Path(found)


def load_table(name_or_path: str | Path) -> ExpertTable:
    """Load a table by its name, or from a user's own YAML file.

    Raises:
        FileNotFoundError: No table of that name, no such file.
        ValueError: Not YAML, or a field that does not fit; the message names file, emotion, field,
            what was expected and the way out.
    """
    known = str(name_or_path) in table_names()
    path = _path_of(str(name_or_path)) if known else Path(name_or_path)
    if not exists(path):
        raise FileNotFoundError(
            f"no expert table {str(name_or_path)[:200]!r}; expected one of"
            f" {', '.join(table_names())} or the path of a YAML file"
        )
    remedy = f"give one of {', '.join(table_names())} or the path of a YAML file"
    return _parsed(path, read_text(path, "expert table", remedy))


@lru_cache(maxsize=32)
def _parsed(path: Path, text: str) -> ExpertTable:
    """Parse a table; a run reads each of them several times, and YAML takes 40 ms."""
    try:
        content = yaml.load(text, Loader=_TableLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path}: not a YAML table{place_in_yaml(error)}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected the fields of a table (name, version, citation, source, licence, "
            f"emotions), found {type(content).__name__}"
        )
    # Anybody who may start a run may name any file here, so nothing of a foreign one is shown.
    if len(content.keys() & ExpertTable.model_fields.keys()) < 3:
        raise ValueError(
            f"{path}: no expert table; expected the fields name, version, citation, source, "
            "licence and emotions"
        )
    try:
        return ExpertTable(**content)
    except ValidationError as error:
        raise ValueError(f"{path}: {_explain(error)}") from None


_KNOWN_KEYS = frozenset({*Emotion, *ExpertTable.model_fields})


class _TableLoader(yaml.SafeLoader):
    """Keep keys as text (YAML reads 012 as ten) and refuse duplicates (YAML keeps the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in mapping:
                line = key_node.start_mark.line + 1
                known = re.fullmatch(r"(?:AU)?\d{1,2}", key) or key in _KNOWN_KEYS
                shown = key if known else "a key"
                raise ValueError(f"line {line}: {shown} occurs twice; keep one of them")
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping


def _by_emotion(content: Mapping[str, Any], field: str) -> dict[Emotion, Any]:
    found: dict[Emotion, Any] = {}
    for text, aus in content.items():
        try:
            emotion = parse_emotion(text)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
        if emotion in found:
            raise ValueError(f"{field}.{text}: {emotion} occurs twice; keep one of them")
        found[emotion] = aus
    return found


def _expand_combinations(content: Mapping[str, Any]) -> dict[Emotion, dict[tuple[int, ...], float]]:
    """Return combinations such as ``AU01+AU02: 5`` by emotion, their weights adding up to one."""
    expanded = {}
    for emotion, sets in _by_emotion(content, "combinations").items():
        where = f"combinations.{emotion}"
        if not isinstance(sets, Mapping) or not sets:
            raise ValueError(f"{where}: expected lines such as `AU01+AU02: 5`, not {sets!r}")
        found: dict[tuple[int, ...], float] = {}
        for text, weight in sets.items():
            numbers = []
            for part in str(text).split("+"):
                match = re.fullmatch(r"(?:AU)?0*([1-9]\d?)", part.strip().upper())
                if match is None or int(match[1]) not in AU_NUMBERS:
                    raise ValueError(
                        f"{where}.{text}: unknown AU {part!r}, expected one of"
                        f" {', '.join(AU_NAMES)} joined by +"
                    )
                numbers.append(int(match[1]))
            aus = tuple(sorted(set(numbers)))
            if aus in found:
                raise ValueError(f"{where}.{text}: occurs twice; keep one line")
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
                raise ValueError(f"{where}.{text}: {weight!r}, expected a weight above 0")
            found[aus] = float(weight)
        total = sum(found.values())
        expanded[emotion] = {aus: weight / total for aus, weight in found.items()}
    return expanded


def _marginal(sets: Mapping[tuple[int, ...], float]) -> dict[str, float]:
    """Return the probability of each AU that follows from combinations."""
    numbers = sorted({number for aus in sets for number in aus})
    return {
        f"AU{number:02d}": min(1.0, sum(weight for aus, weight in sets.items() if number in aus))
        for number in numbers
    }


def _expand_aus(emotion: Emotion, aus: Any, field: str, prototypical: Any) -> Any:
    if not isinstance(aus, Mapping):
        raise ValueError(
            f"{field}.{emotion}: expected lines such as `AU12: 0.5`, not {aus!r}; remove the "
            "emotion if it has none"
        )
    expanded: dict[int, Any] = {}
    for text, value in aus.items():
        match = re.fullmatch(r"(?:AU)?0*([1-9]\d?)", str(text).strip().upper())
        if match is None:
            raise ValueError(
                f"{field}.{emotion}.{text}: unknown AU, expected one of {', '.join(AU_NAMES)}"
            )
        number = int(match[1])
        if number in expanded:
            raise ValueError(f"{field}.{emotion}: AU{number:02d} occurs twice; keep one of them")
        entry = dict(value) if isinstance(value, Mapping) else {"probability": value}
        if entry.get("probability") == _PROTOTYPICAL:
            if prototypical is None:
                raise ValueError(
                    f"{field}.{emotion}.AU{number:02d}: `{_PROTOTYPICAL}` needs the field "
                    "prototypical_probability at the top of the table"
                )
            entry["probability"] = prototypical
        expanded[number] = entry if field == "emotions" else entry.get("probability")
    return expanded


def _explain(error: ValidationError) -> str:
    parts = []
    for part in error.errors():
        # The third step of such a path is the number of an AU.
        steps = [
            f"AU{step:02d}" if position == 2 else str(step)
            for position, step in enumerate(part["loc"])
        ]
        match part["type"]:
            case "missing":
                message = "is absent, and every table needs it; add it"
            case "extra_forbidden":
                message = f"unknown field; expected {', '.join(ExpertTable.model_fields)}"
            case "value_error":
                message = part["msg"].removeprefix("Value error, ")
            case _:
                message = f"{part['msg']}, not {part['input']!r}"
        parts.append(": ".join(filter(None, [".".join(steps), message])))
    return "; ".join(parts)
