"""Decide which of the given databases a cell tests, pretrains on, or trains with."""

from collections.abc import Iterable, Sequence

from miex.datasets.clips.base import clip_database_facts
from miex.pipeline.experiments.config import Experiment, Row
from miex.pipeline.recognition.job_config import TrainingClips
from miex.pipeline.recognition.protocols import Protocol, find_protocol


def databases_of(spec: str) -> tuple[str, ...]:
    """Return the databases whose clips a source ``NAME:PATH`` holds; nothing is opened.

    Raises:
        ValueError: No such database.
    """
    name = spec.partition(":")[0].partition("?")[0]
    return clip_database_facts(name).holds or (name,)


class ClipRoles:
    """The databases that whoever runs an experiment gives, and what each is for.

    Args:
        experiment: Its rows name databases to pretrain on and to train with.
        specs: The given databases, ``NAME:PATH``.
    """

    def __init__(self, experiment: Experiment, specs: Sequence[str]) -> None:
        self._specs = {spec: databases_of(spec) for spec in specs}
        own = _protocols(experiment)
        tested = {name for protocol in own for name in protocol.databases}
        named = {
            name
            for row in experiment.rows
            for name in (*row.pretraining_clips, *row.training_clips)
        }
        self._only_trained_on = named - tested

    def tested(self, protocol: Protocol) -> tuple[str, ...]:
        """Return the sources that a protocol tests.

        Of a protocol of whatever is given these are all but those that the experiment only trains
        on; all, if there are no others.
        """
        wanted = set(protocol.databases)
        if wanted:
            return tuple(spec for spec, found in self._specs.items() if wanted & set(found))
        found = tuple(
            spec for spec, found in self._specs.items() if set(found) - self._only_trained_on
        )
        return found or tuple(self._specs)

    def absent(self, protocol: Protocol) -> list[str]:
        """Return the databases of a protocol that are not given, if any clips are."""
        given = {name for found in self._specs.values() for name in found}
        return [name for name in protocol.databases if self._specs and name not in given]

    def missing(self, row: Row) -> list[str]:
        """Return what a row needs and nobody gave."""
        given = {name for found in self._specs.values() for name in found}
        names = dict.fromkeys((*row.pretraining_clips, *row.training_clips))
        return [
            f"clips of {name} (--clips {_written(name)})" for name in names if name not in given
        ]

    def training(self, names: Iterable[str]) -> TrainingClips:
        """Return clips of some databases, each from the first source that holds it."""
        sources = {
            next(spec for spec, found in self._specs.items() if name in found): None
            for name in names
        }
        only = tuple(names) if any(len(self._specs[spec]) > 1 for spec in sources) else ()
        return TrainingClips(databases=tuple(sources), only=only)


def needed_databases(experiment: Experiment) -> list[str]:
    """Return the databases that an experiment tests, pretrains on or trains with."""
    names = [name for protocol in _protocols(experiment) for name in protocol.databases]
    for row in experiment.rows:
        names += [*row.pretraining_clips, *row.training_clips]
    return list(dict.fromkeys(names))


def _protocols(experiment: Experiment) -> list[Protocol]:
    every = [experiment.settings, *(each.settings for each in experiment.columns)]
    every += [row.settings for row in experiment.rows]
    names = {str(each.get("evaluation.protocol", experiment.protocol)) for each in every}
    return [find_protocol(name) for name in sorted(names)]


def _written(name: str) -> str:
    return clip_database_facts(name).written or f"{name}:FOLDER"
