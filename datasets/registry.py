"""Find plug-ins by name: files of miex, and entry points of other installed packages.

A plug-in of miex is one file that registers one factory; nothing else lists it. Another package
adds one by an entry point, in its `pyproject.toml`:

    [project.entry-points."miex.recognizers"]
    flow_linear = "their_package.flow_linear:FlowLinear"

Names are listed without importing what they name.
"""

import ast
import contextlib
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

Factory = TypeVar("Factory", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a plug-in for lists, `miex doctor`, the tables of the docs and the tests.

    Attributes:
        about: Description, one line of Markdown.
        title: Full name; the registered name by default.
        written: Notation on the command line, as ``celeba:FOLDER``.
        found_by: Patterns, as in a shell, of names of files or folders by which `miex doctor`
            recognizes that its database or its weights are on the machine.
        holds: Databases whose clips it hands out under their own names; its own name without.
        toy: Writes into a folder what tests need to use it: a tiny database, random weights; and
            returns the path to give. None where nothing is needed or tests have their own.
    """

    about: str = ""
    title: str = ""
    written: str = ""
    found_by: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    toy: Callable[[Path], Path] | None = None


class Registry(Generic[Factory]):
    """Factories by name; the module of a factory is imported when it is first used.

    Args:
        kind: Kind of the plug-ins for messages: `generator`.
        modules: Returns the module of every name; called each time, so that a new file is found
            without a list of files.
        group: Group of entry points through which other packages add plug-ins.
    """

    def __init__(self, kind: str, modules: Callable[[], Mapping[str, str]], group: str) -> None:
        self._kind = kind
        self._modules = modules
        self._group = group
        self._factories: dict[str, Factory] = {}
        self._facts: dict[str, Facts] = {}

    def register(self, name: str, facts: Facts | None = None) -> Callable[[Factory], Factory]:
        """Register the decorated factory.

        Args:
            name: Name on the command line.
            facts: Facts that are known without using it.

        Raises:
            ValueError: The name exists already; the message names both modules.
        """

        def keep(factory: Factory) -> Factory:
            taken = self._factories.get(name)
            owner = self._modules().get(name, factory.__module__)
            if taken is not None:
                owner = taken.__module__
            if taken is not factory and (taken is not None or owner != factory.__module__):
                raise ValueError(
                    f"{self._kind} {name!r} is registered twice, by {owner} and by"
                    f" {factory.__module__}; rename one of them"
                )
            self._factories[name] = factory
            self._facts[name] = facts or Facts()
            return factory

        return keep

    def names(self) -> list[str]:
        """Return all names, sorted, also those whose requirements are not installed."""
        return sorted({*self._modules(), *self._entry_points()})

    def places(self) -> dict[str, str]:
        """Return the origin of each name: a module, or ``PACKAGE (MODULE:ATTRIBUTE)``.

        Several origins of one name are joined by "and".
        """
        found = dict(self._modules())
        for name, points in self._entry_points().items():
            own = [found[name]] if name in found else []
            found[name] = " and ".join([*own, _described(points)])
        return dict(sorted(found.items()))

    def facts(self, name: str, *, light: bool = False) -> Facts:
        """Return the facts about a plug-in.

        Args:
            name: Its registered name.
            light: Read literals from the source of a plug-in of miex instead of importing it, since
                the import may load torch; `toy` and other values are left out.

        Raises:
            ValueError: See `find`.
        """
        module = self._modules().get(name)
        if light and module and name not in self._factories:
            return _literal_facts(module)
        self.find(name)
        return self._facts.get(name, Facts())

    def find(self, name: str) -> Factory:
        """Return the factory of a name, and import its module if necessary.

        Raises:
            ValueError: No such name (the message lists all), a name of several packages, or an
                entry point that cannot be loaded. Other names stay usable.
        """
        modules, points = self._modules(), self._entry_points().get(name, ())
        module = modules.get(name)
        if len(points) + (module is not None) > 1:
            places = [f"miex ({module})"] * (module is not None) + [_described([p]) for p in points]
            raise ValueError(
                f"{self._kind} {name!r} is claimed by {' and '.join(places)}; uninstall one of them"
                " or rename its entry point"
            )
        if name not in self._factories:
            if points:
                self._factories[name] = self._load(points[0])
            elif module is None:
                raise ValueError(
                    f"no {self._kind} is called {name!r}; there are: {', '.join(self.names())}"
                )
            else:
                importlib.import_module(module)
        if name not in self._factories:
            raise ValueError(
                f"{module} registers no {self._kind} under the name of its file, {name!r}; correct"
                " the name in its decorator"
            )
        return self._factories[name]

    def _entry_points(self) -> dict[str, tuple[EntryPoint, ...]]:
        return _entry_points(self._group, tuple(sys.path))

    def _load(self, point: EntryPoint) -> Factory:
        """Import the object that an entry point names.

        Raises:
            ValueError: The import failed, or the object is no factory or has another name.
        """
        where = f"entry point {point.name!r} of {_described([point])} in group {self._group!r}"
        try:
            factory = point.load()
        except Exception as error:  # The import of another package can raise any exception.
            raise ValueError(
                f"{where} cannot be loaded ({type(error).__name__}: {error}); repair or uninstall"
                f" that package. Every other {self._kind} works without it"
            ) from error
        if not callable(factory):
            raise ValueError(
                f"{where} is a {type(factory).__name__}, expected a factory as"
                " MODULE:FUNCTION or MODULE:CLASS"
            )
        own = getattr(factory, "name", point.name)
        if isinstance(own, str) and own != point.name:
            raise ValueError(f"{where} has the attribute name = {own!r}; give both the same name")
        return cast(Factory, factory)


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """Return the entry points of a group by name; cached, since reading them is slow.

    Args:
        group: Name of the group, as `miex.recognizers`.
        path: `sys.path`, in which installed packages are searched for.
    """
    del path  # Only part of the key of the cache.
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        # An editable install beside a built one lists the same entry point twice.
        if point.value not in {other.value for other in found.get(point.name, ())}:
            found[point.name] = (*found.get(point.name, ()), point)
    return found


def _described(points: Sequence[EntryPoint]) -> str:
    return " and ".join(
        f"{point.dist.name if point.dist else 'an unnamed package'} ({point.value})"
        for point in points
    )


def _literal_facts(module: str) -> Facts:
    spec = importlib.util.find_spec(module)
    source = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == Facts.__name__:
            for keyword in node.keywords:
                with contextlib.suppress(ValueError):
                    found[str(keyword.arg)] = ast.literal_eval(keyword.value)
    return Facts(**found)


def modules_in(package: str, folder: Path) -> dict[str, str]:
    """Return the modules of a folder by file name, without `base` and files that begin with `_`."""
    stems = {path.stem for path in folder.glob("[!_]*.py")} - {"base"}
    return {stem: f"{package}.{stem}" for stem in stems}
