"""State the AU sources of a dataset, and what would add those of MiE-X that it lacks."""

from collections.abc import Sequence

from miex.au_sources.base import AUSource
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.inputs import open_sources

_ADDED_BY = {
    "real_mie": "real_mie: miex extract-aus casme2:PATH -o real.parquet (AUs of real "
    "micro-expressions; -e facs needs no images), then --source pool:real.parquet",
    "early_mae": "early_mae: miex extract-aus ckplus:PATH --source early_mae -o early.parquet "
    "(early frames of macro-expressions; samples instead of ckplus:PATH needs no data), then "
    "--source pool:early.parquet",
}
"""What adds each source of MiE-X that needs clips."""


def source_notes(config: SynthesisConfig, sources: Sequence[AUSource] | None = None) -> list[str]:
    """Return lines that state the AU sources, and how to add the others of MiE-X.

    Args:
        config: Config of the dataset.
        sources: Its opened sources; they are opened if they are not given.

    Raises:
        FileNotFoundError: A table or pool is missing.
        ValueError: A table or pool is damaged, or does not fit the label space.
    """
    opened = open_sources(config) if sources is None else sources
    lines = [f"AU source {source.name}: {source.description}" for source in opened]
    names = {source.name for source in opened}
    absent = [name for name in _ADDED_BY if name not in names]
    if names == {"expert"}:
        lines.append("only expert tables; the other two sources of MiE-X are added by")
    elif absent:
        lines.append("the third source of MiE-X is added by")
    return lines + [f"  {_ADDED_BY[name]}" for name in absent]
