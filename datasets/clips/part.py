"""Take the clips of some databases from a reader that holds several."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from miex.datasets.clips.base import Clip, ClipReader, ClipReport


@dataclass(frozen=True, slots=True)
class _PartOfDatabases:
    """A reader without the clips of other databases; see `ClipReader`."""

    reader: ClipReader
    only: Sequence[str]

    @property
    def name(self) -> str:
        return self.reader.name

    @property
    def licence(self) -> str:
        return self.reader.licence

    def clips(self) -> list[Clip]:
        return [clip for clip in self.reader.clips() if clip.database in self.only]

    def report(self) -> ClipReport:
        report = self.reader.report()
        kept = [each for each in report.rejections if each.origin.partition(":")[0] in self.only]
        return replace(report, rejections=tuple(kept))


def only_of(reader: ClipReader, databases: Sequence[str]) -> ClipReader:
    """Return a reader of the clips of some databases.

    Args:
        reader: May hold several, as MEGC2019 does.
        databases: Those that are wanted; all for none.
    """
    return _PartOfDatabases(reader, databases) if databases else reader
