"""Open sources of faces by name.

A new database is one new file here that registers a factory:

    @register_face_source("name", Facts("what it reads", "Title", "name:FOLDER", ("list.txt",)))
    def open_name(spec: SourceSpec) -> FaceSource: ...

Another installed package names such a factory in its entry points `miex.face_readers`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from miex.datasets.base import FaceSource
from miex.datasets.given_files import require_folder
from miex.datasets.paths import exists, split_options
from miex.datasets.registry import Registry, modules_in


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Source as the user writes it: ``NAME:PATH?KEY=VALUE``.

    Attributes:
        name: The registered name.
        path: Folder or file of the database; None if none was given.
        options: Options after the question mark, separated by ``&``; may be empty.
    """

    name: str
    path: Path | None
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "SourceSpec":
        """Split a text into name, path and options.

        The path of an existing folder or table alone means `folder:PATH`. Values of options are
        used literally, see `miex.datasets.paths.split_options`.

        Raises:
            ValueError: A question mark is not followed by KEY=VALUE.
        """
        name, colon, rest = text.partition(":")
        if name not in face_source_names() and exists(text):
            return cls("folder", Path(text), {})
        path, options = split_options(rest if colon else name)
        if not colon:
            name, path = path, ""
        return cls(name, Path(os.path.expanduser(path)) if path else None, options)

    def existing_path(self) -> Path:
        """Return the path, which this source needs.

        Raises:
            ValueError: No path was given.
            FileNotFoundError: The path does not exist.
        """
        if self.path is None:
            raise ValueError(f"{self.name} needs a path: write {self.name}:PATH")
        if not exists(self.path):
            raise FileNotFoundError(
                f"{self.name}: nothing at {self.path}; give a path that exists, as {self.name}:PATH"
            )
        return self.path

    def existing_folder(self) -> Path:
        """Return the path, which must be a folder for this source.

        Raises:
            ValueError: None was given.
            FileNotFoundError: It is not there.
            NotADirectoryError: It is a file.
        """
        path = self.existing_path()
        return require_folder(path, f"folder of {self.name}", f"write {self.name}:FOLDER")

    def known_options(self, *known: str) -> Mapping[str, str]:
        """Return the options, if the source knows all of them.

        Raises:
            ValueError: There is no such option.
        """
        unknown = sorted(set(self.options) - set(known))
        if unknown:
            expected = ", ".join(known) or "none"
            raise ValueError(f"{self.name}: unknown option {unknown[0]!r}; there are: {expected}")
        return self.options


Factory = Callable[[SourceSpec], FaceSource]


def _modules() -> dict[str, str]:
    found = modules_in("miex.datasets.faces", Path(__file__).parent)
    return {name: module for name, module in found.items() if "_" not in name}


_SOURCES = Registry[Factory]("face source", _modules, "miex.face_readers")

register_face_source = _SOURCES.register
"""Register a factory under the name of its file, which has no underscore."""

face_source_names = _SOURCES.names
"""Return the names of all sources, sorted."""

face_source_places = _SOURCES.places
"""Return the module or package of each source, see `Registry.places`."""

face_source_facts = _SOURCES.facts
"""Return what is known about a source before it is opened, see `Registry.facts`."""


def open_face_source(text: str) -> FaceSource:
    """Open the source that a text names, see `SourceSpec`.

    Args:
        text: For instance ``samples``, ``folder:photos?layout=files``, ``celeba:/data/celeba``, or
            the path of a folder.

    Raises:
        ValueError: There is no such source or option.
        FileNotFoundError: The path does not exist.
    """
    spec = SourceSpec.parse(text)
    if spec.name not in face_source_names():
        known = ", ".join(face_source_names())
        raise ValueError(
            f"no face source is called {spec.name!r} and no folder either; there are: {known}, "
            "written NAME:PATH"
        )
    return _SOURCES.find(spec.name)(spec)
