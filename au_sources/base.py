"""Define AU sources and open one by its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from miex.au_sources.expert import MICRO_INTENSITY, ExpertSource
from miex.au_sources.expert_table import load_table
from miex.au_sources.pool import AUPair, AUPool
from miex.au_sources.pool_file import AUSourceName
from miex.au_sources.pool_source import PoolSource
from miex.datasets.labels import LABEL_SPACES, LabelSpace, parse_emotion
from miex.datasets.storage import is_address, local_file


class AUSource(Protocol):
    """Provide AU pairs of the classes of one label space."""

    @property
    def name(self) -> AUSourceName:
        """Return which of the three sources of MiE-X it is: real_mie, early_mae or expert."""
        ...

    @property
    def label_space(self) -> LabelSpace:
        """Return the classes that it can be asked for."""
        ...

    @property
    def classes(self) -> frozenset[str]:
        """Return the classes of the label space that it has AUs for."""
        ...

    @property
    def description(self) -> str:
        """Return what the source is and the beginning of its hash, one line for a dataset card."""
        ...

    @property
    def sha256(self) -> str:
        """Return the hash of the content from which pairs are drawn."""
        ...

    @property
    def citation(self) -> str:
        """Return what to cite when it is used."""
        ...

    @property
    def licence(self) -> str:
        """Return the licence."""
        ...

    @property
    def measured_on(self) -> tuple[str, ...]:
        """Return databases whose clips the table counts: all subjects influence a draw."""
        ...

    @property
    def tracked(self) -> float:
        """Return the share of the drawn pairs that have the AUs of the frames between."""
        ...

    def draw(self, emotion_class: str, rng: np.random.Generator) -> AUPair:
        """Draw a pair whose emotion belongs to a class, and whose apex differs from its onset.

        The result depends on the generator's state alone. AUs that were not measured are NaN.

        Raises:
            ValueError: The source has no AUs for the class.
        """
        ...


def open_source(
    spec: str,
    intensity: tuple[float, float] = MICRO_INTENSITY,
    emotion_weights: Mapping[str, float] | None = None,
    label_space: LabelSpace = LABEL_SPACES["three_class"],
) -> AUSource:
    """Open an AU source.

    Args:
        spec: `expert:NAME` (a table of miex), `expert:FILE.yaml` (a table of the user) or
            `pool:FILE.parquet` (an `AUPool`). A file may be at an address.
        intensity: Range of an expert's intensities, 0 to 5. Pools bring their own.
        emotion_weights: Weights of fine emotions within their class, by name.
        label_space: The classes that will be asked for.

    Raises:
        FileNotFoundError: No such table or pool.
        ValueError: The text is no such spec, or what it names does not fit; the message says how.
    """
    weights = {parse_emotion(name): weight for name, weight in (emotion_weights or {}).items()}
    kind, _, rest = spec.partition(":")
    if kind == "expert" and rest:
        table = local_file(rest) if is_address(rest) else rest
        return ExpertSource(load_table(table), label_space, intensity, weights)
    if kind == "pool" and rest:
        path = local_file(Path(rest).expanduser())
        return PoolSource(AUPool.read(path), label_space, weights or None, path.name)
    raise ValueError(
        f"AU source {spec!r}: expected expert:NAME, expert:FILE.yaml or pool:FILE.parquet"
    )
