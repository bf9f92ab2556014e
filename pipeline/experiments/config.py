"""Read experiments: a table or figure of a paper as a grid of evaluations, from one YAML file.

    title: ...            what it shows
    paper: ...            its publication
    place: table 1        table or figure of the publication
    protocol: megc2019    `miex.pipeline.recognition.protocols`
    metrics: [uf1, uar]
    scoring: pooled       or mean_over_folds: what the paper's numbers are, and so what ours are
    inputs: {faces: a face table, ...}                 files that the user gives
    datasets: {miex: {faces: "${faces}", ...}}         fields of SynthesisConfig, nested with dots
    settings: {evaluation.recognizer: branches}        fields of EvaluateJob, of every cell
    rows: [{name: ..., datasets: [miex], settings: {...}, paper: {COLUMN: {uf1: [.477, .005]}}}]
    columns: [{name: ..., settings: {...}}]            or `recognizers`: one column for each
    claims: [{text: ..., better: [ROW], than: [ROW]}]  judged in words, see `claims`
    choices: [{text: ..., rows: [ROW]}]  scored in nested folds, see `nested`
    notes: [what else must be known]
    combinations: {dataset: ..., sources: ..., generators: ...}   rows and datasets, see
                                                                  `_with_combinations`

A cell takes the settings of the experiment, its row and its column; a later one wins.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from miex.datasets.config import FrozenConfig, explain
from miex.datasets.documents import place_in_yaml
from miex.datasets.given_files import read_text
from miex.generators.base import generator_names
from miex.pipeline.recognition.recognizer_config import recognizer_facts, recognizer_names

Metric = Literal["uf1", "uar", "accuracy"]

Scoring = Literal["pooled", "mean_over_folds"]
"""Scores of the counts of all folds together, or the mean of the scores of each fold."""

Published = float | tuple[float, float]
"""A number of a paper, 0-1; or its mean and its standard deviation."""

_FOLDER = Path(__file__).parent / "definitions"
_PLACEHOLDER = re.compile(r"\$\{([a-z0-9_]+)\}")


class InputFile(FrozenConfig):
    """A file that an experiment needs and that the user must provide."""

    about: str = Field(description="what it is, and which command makes it")
    optional: bool = Field(False, description="fields that name it are left empty without it")


class Row(FrozenConfig):
    """A row of the table."""

    name: str
    datasets: tuple[str, ...] = Field((), description="to pretrain on; names of `datasets`")
    pretraining_clips: tuple[str, ...] = Field(
        (), description="databases of real clips to pretrain on, without the people tested"
    )
    training_clips: tuple[str, ...] = Field(
        (), description="databases of clips that are fine-tuned on and never tested"
    )
    settings: dict[str, Any] = Field(default_factory=dict)
    columns: tuple[str, ...] = Field((), description="that are computed; all by default")
    cannot: str | None = Field(None, description="why miex cannot compute it; it is shown empty")
    paper: dict[str, dict[Metric, Published]] = Field(
        {}, description="the paper's numbers by column; those that it does not print are not here"
    )


class Column(FrozenConfig):
    """A column of the table."""

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    database: str | None = Field(None, description="scores of the clips of one database alone")
    clips: tuple[int, ...] = Field(
        (), description="that the paper evaluates on; several where paper and authors' list differ"
    )
    classes: int | None = Field(None, description="that the paper tells apart")

    @field_validator("clips", mode="before")
    @classmethod
    def _only_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value


class Claim(FrozenConfig):
    """A claim about the rows of an experiment."""

    text: str = Field(description="claim in words")
    better: tuple[str, ...] = Field(min_length=1, description="rows whose mean score is higher")
    than: tuple[str, ...] = Field(min_length=1, description="rows whose mean score is lower")


class Choice(FrozenConfig):
    """Rows of which one is chosen in nested folds."""

    text: str = Field(description="what is chosen, in words")
    rows: tuple[str, ...] = Field(min_length=2, description="rows to choose from")


class Experiment(FrozenConfig):
    """See the module."""

    name: str
    title: str
    paper: str
    place: str
    protocol: str
    metrics: tuple[Metric, ...] = Field(min_length=1)
    scoring: Scoring = Field("pooled", description="how the paper averages; ours is shown alike")
    inputs: dict[str, InputFile] = Field(default_factory=dict)
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    rows: tuple[Row, ...] = Field(min_length=1)
    columns: tuple[Column, ...] = Field(min_length=1)
    claims: tuple[Claim, ...] = ()
    choices: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _combined(cls, content: Any) -> Any:
        if not isinstance(content, dict) or "combinations" not in content:
            return content
        return _with_combinations(content)

    @field_validator("inputs", mode="before")
    @classmethod
    def _only_text(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"about": it} if isinstance(it, str) else it for name, it in value.items()}

    @field_validator("columns", mode="before")
    @classmethod
    def _every_recognizer(cls, value: Any) -> Any:
        if value != "recognizers":
            return value
        return [
            {"name": recognizer_facts(name)["title"], "settings": {"evaluation.recognizer": name}}
            for name in recognizer_names()
        ]

    @model_validator(mode="after")
    def _whole(self) -> "Experiment":
        for what, names in (
            ("row", [row.name for row in self.rows]),
            ("column", [column.name for column in self.columns]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(
                    f"{what} {twice[0]!r} is defined twice; give each {what} a unique name"
                )
        columns = {column.name for column in self.columns}
        for row in self.rows:
            _require_known("dataset", row.datasets, self.datasets, row.name)
            _require_known("column", row.paper, columns, row.name)
            _require_known("column", row.columns, columns, row.name)
            for scores in row.paper.values():
                _require_known("metric", scores, self.metrics, row.name)
        rows = {row.name for row in self.rows}
        for claim in self.claims:
            _require_known("row", (*claim.better, *claim.than), rows, f"claim {claim.text!r}")
        for choice in self.choices:
            _require_known("row", choice.rows, rows, f"choice {choice.text!r}")
        for name, fields in self.datasets.items():
            sizes = [fields.get(key) for key in ("identities", "samples")]
            if not all(isinstance(size, int) and size > 0 for size in sizes):
                raise ValueError(
                    f"dataset {name!r} must state identities and samples, as whole numbers above 0"
                )
        used = set(placeholders([self.datasets, self.settings, *map(_settings, self.rows)]))
        if used != set(self.inputs):
            raise ValueError(
                f"placeholders and inputs differ in {', '.join(sorted(used ^ set(self.inputs)))};"
                " every ${NAME} of a dataset or setting needs an entry in `inputs`, and every entry"
                " a use"
            )
        return self


class _Combinations(FrozenConfig):
    """Fields of datasets: of all, of each AU source, and of each generator by its name in rows."""

    dataset: dict[str, Any]
    sources: dict[str, dict[str, str]]
    generators: dict[str, dict[str, Any]]


def _with_combinations(content: dict[str, Any]) -> dict[str, Any]:
    """Add a dataset and two rows for every set of AU sources and every generator.

    Each dataset is pretrained on twice, without and with fine-tuning. Registered generators that
    `generators` does not name take part under their own names.
    """
    rest = {name: value for name, value in content.items() if name != "combinations"}
    given = _Combinations.model_validate(content["combinations"])
    generators = dict(given.generators)
    known = {fields["generator.name"] for fields in generators.values()}
    for name in generator_names():
        if name not in known:
            generators[name] = {"short": name, "generator.name": name}
    sets = [
        chosen
        for count in range(1, len(given.sources) + 1)
        for chosen in itertools.combinations(given.sources, count)
    ]
    datasets, rows = dict(rest.get("datasets", {})), list(rest.get("rows", ()))
    for generator, fields in generators.items():
        for finetune in (False, True):
            for chosen in sets:
                sources = [given.sources[name] for name in chosen]
                dataset = "_".join([fields["short"], *(source["short"] for source in sources)])
                datasets[dataset] = {
                    **given.dataset,
                    "sources": [source["spec"] for source in sources],
                    **{name: value for name, value in fields.items() if name != "short"},
                }
                stage = "fine-tuned" if finetune else "not fine-tuned"
                row = {"name": f"{' + '.join(chosen)}; {generator}; {stage}", "datasets": [dataset]}
                rows.append(row if finetune else row | {"settings": {"evaluation.finetune": False}})
    return {**rest, "datasets": datasets, "rows": rows}


def _settings(row: Row) -> dict[str, Any]:
    return row.settings


def _require_known(what: str, names: Any, known: Any, row: str) -> None:
    for name in names:
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise ValueError(f"row {row!r} names {what} {name!r}; there are: {there}")


def experiment_names() -> list[str]:
    """Return every experiment that comes with miex."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_experiment(name: str) -> Experiment:
    """Read an experiment.

    Args:
        name: One of `experiment_names`, or a YAML file.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No such experiment, or a file that does not describe one; every field that does
            not fit is named.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _FOLDER / f"{name}.yaml"
    if not path.is_file() and path.parent == _FOLDER:
        known = ", ".join(experiment_names())
        raise ValueError(f"no experiment is called {name!r}; there are: {known}")
    text = read_text(path, "experiment in YAML", "`miex experiment` lists those that there are")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"{path} is no YAML{place_in_yaml(error)}") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected `field: value` lines, found {type(content).__name__}; the heads of"
            " the shipped experiments show how"
        )
    try:
        return Experiment.model_validate({"name": path.stem} | content)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from None


def placeholders(value: Any) -> Iterator[str]:
    """Yield the name of every ``${NAME}`` in a value, however deep."""
    if isinstance(value, str):
        yield from _PLACEHOLDER.findall(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from placeholders(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from placeholders(each)


def filled(value: Any, files: Mapping[str, str]) -> Any:
    """Return a value with every ``${NAME}`` replaced by its file.

    Returns:
        The value; None where it names a file that is not given.
    """
    if isinstance(value, str):
        if any(name not in files for name in _PLACEHOLDER.findall(value)):
            return None
        return _PLACEHOLDER.sub(lambda found: files[found[1]], value)
    if isinstance(value, Mapping):
        return {name: filled(each, files) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [filled(each, files) for each in value]
    return value
