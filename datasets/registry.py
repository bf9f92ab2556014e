"""Plug-ins by name: one new file registers one factory, and nothing else needs to know."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

Factory = TypeVar("Factory", bound=Callable[..., object])


class Registry(Generic[Factory]):
    """Factories by name. A factory's file is imported when it is first asked for.

    Args:
        kind: What they make, for messages: `generator`.
        modules: Tells the module of every name; called anew each time, so that a new file is
            found without a list of files.
    """

    def __init__(self, kind: str, modules: Callable[[], Mapping[str, str]]) -> None:
        self._kind = kind
        self._modules = modules
        self._factories: dict[str, Factory] = {}

    def register(self, name: str) -> Callable[[Factory], Factory]:
        """Registers the decorated factory.

        Raises:
            ValueError: The name is taken.
        """

        def keep(factory: Factory) -> Factory:
            if name in self._factories:
                raise ValueError(f"{self._kind} {name!r} is registered twice")
            self._factories[name] = factory
            return factory

        return keep

    def names(self) -> list[str]:
        """Every name, whether or not what it needs is installed."""
        return sorted(self._modules())

    def find(self, name: str) -> Factory:
        """The factory of a name.

        Raises:
            ValueError: There is none; the message lists those that there are.
        """
        if name not in self._factories:
            modules = self._modules()
            if name not in modules:
                known = ", ".join(sorted(modules))
                raise ValueError(f"no {self._kind} is called {name!r}; there are: {known}")
            importlib.import_module(modules[name])
        return self._factories[name]


def modules_in(package: str, folder: Path) -> dict[str, str]:
    """Modules of a folder by file name; `base` and files that begin with `_` are machinery."""
    stems = {path.stem for path in folder.glob("[!_]*.py")} - {"base"}
    return {stem: f"{package}.{stem}" for stem in stems}
