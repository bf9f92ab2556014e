"""Hold the command `miex`, and turn the flags of a config model into options of a command."""

import functools
import importlib
import inspect
import os
import resource
import sys
import typing
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from miex.flows.terminal import Terminal, describe, is_expected, is_out_of_memory

if typing.TYPE_CHECKING:
    from miex.datasets.flags import Parameter


def out_option(what: str) -> Any:
    """Return the option `--out`, `-o` with its help: what is written."""
    return typer.Option("--out", "-o", help=what)


Out = Annotated[Path, out_option("Folder of the output.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-j", min=1, max=1024, help="Number of processes; one per core by default."
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with fields; options win over it.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Any field, nested ones with dots; wins over all others. Repeatable.",
    ),
]
Cache = Annotated[
    Path, typer.Option(help="Folder of cached representations; may be deleted at any time.")
]

_GIVEN = "miex.given"

_P = ParamSpec("_P")
_R = TypeVar("_R")


_LIGHTER = {"--workers": 1, "--batch-size": 8}
"""Options that make a command need less memory, with a small value."""

_LEAST_ADDRESS_SPACE = 1 << 30
"""Address space below which native libraries end the process, or hang, while they are loaded."""


def _require_address_space() -> None:
    """Check that the libraries can be loaded.

    Raises:
        ValueError: The limit of the shell (`ulimit -v`) is too low.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESS_SPACE:
        raise ValueError(
            f"out of memory: `ulimit -v` allows {limit >> 20} MiB, the libraries need more than"
            f" {_LEAST_ADDRESS_SPACE >> 20} MiB; raise the limit (`ulimit -v unlimited`)"
        )


class _Commands(TyperGroup):
    """Turn every expected error into one line, and accept `--debug` in any position."""

    _is_process = False
    """Whether the command is the whole process, not a call in another program."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = [word for word in args if word != "--debug"]
        return super().parse_args(ctx, ["--debug", *rest] if len(rest) < len(args) else rest)

    def main(self, args: Any = None, *rest: Any, **given: Any) -> Any:
        self._is_process = args is None
        return super().main(args, *rest, **given)

    def invoke(self, ctx: Any) -> Any:
        try:
            _require_address_space()
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            Terminal().fail("; ".join(["interrupted", *map(str, error.args)]))
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader has closed the pipe; the interpreter's own flush must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(1) from None
        except (typer.Exit, typer.Abort):
            # Both are subclasses of RuntimeError.
            raise
        except Exception as error:
            if not is_expected(error):
                raise
            if ctx.params.get("debug"):
                raise
            text = describe(error)
            if is_out_of_memory(error):
                text += self._lighter(ctx)
            try:
                Terminal().fail(text)
            except MemoryError:
                # Not even the memory for a console is left.
                os.write(2, f"error: {text}\n".encode(errors="replace"))
            if is_out_of_memory(error) and self._is_process:
                # Libraries that could not start their threads hang or crash when they end.
                sys.stderr.flush()
                os._exit(2)
            raise typer.Exit(2) from None

    def _lighter(self, ctx: Any) -> str:
        """Return the options of the command that make it need less memory."""
        command = self.commands.get(ctx.invoked_subcommand or "")
        options = {name for each in getattr(command, "params", ()) for name in each.opts}
        here = [f"{name} {value}" for name, value in _LIGHTER.items() if name in options]
        return f"; for instance {' or '.join(here)}" if here else ""


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


TRAINING_KEPT = (
    "a training that has begun is kept in {out} up to its last step, and the same command"
    " resumes it"
)
"""For `when_interrupted`."""


def when_interrupted(kept: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Return a decorator of a command that says after Ctrl-C what is kept.

    Args:
        kept: The sentence; parameters of the command may stand in it in braces: ``{out}``.
    """

    def decorate(command: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(command)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                return command(*args, **kwargs)
            except KeyboardInterrupt:
                given = inspect.signature(command).bind(*args, **kwargs)
                given.apply_defaults()
                raise KeyboardInterrupt(kept.format_map(given.arguments)) from None

        return run

    return decorate


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"miex {version('miex')}")
        raise typer.Exit


@app.callback()
def miex(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="MIEX_DEBUG", help="Show tracebacks and warnings.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Synthesize micro-expression datasets, and train recognizers on them.

    Start with `miex demo`. `miex doctor` shows what is installed.
    """
    if not debug:
        warnings.simplefilter("ignore")
        # Worker processes read the variable.
        os.environ.setdefault("PYTHONWARNINGS", "ignore")


def options_of(model: str) -> type[TyperCommand]:
    """Return a command class that adds the flags of a config model to a command's own options.

    The model is imported when the command is used, so that `miex --help` stays fast.

    Args:
        model: ``MODULE:CLASS`` below `miex`.
    """

    class ConfigCommand(TyperCommand):
        _complete = False

        @property
        def params(self) -> list[Any]:
            if not self._complete:
                self._complete = True
                self._params[:0] = _options(_parameters_of(model))
            return self._params

        @params.setter
        def params(self, own: list[Any]) -> None:
            self._params, self._complete = own, False

        def invoke(self, ctx: Any) -> Any:
            given = {each.name: ctx.params.pop(each.name) for each in _parameters_of(model)}
            ctx.meta[_GIVEN] = {
                name: value
                for name, value in given.items()
                if ctx.get_parameter_source(name).name != "DEFAULT"
            }
            return super().invoke(ctx)

    ConfigCommand.model = staticmethod(lambda: _model(model))  # type: ignore[attr-defined]
    return ConfigCommand


def config_of(
    ctx: typer.Context, config: Path | None = None, setting: list[str] | None = None
) -> Any:
    """Build the config of a command of `options_of` from its options, a file and `--set`.

    Args:
        ctx: Context of the command.
        config: YAML file; options win over it.
        setting: ``FIELD=VALUE`` words; they win over options.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A field that does not exist, is missing, or has a value that does not fit.
    """
    from miex.datasets.config import build, parse_assignments
    from miex.datasets.flags import places

    model = ctx.command.model()  # type: ignore[attr-defined]
    return build(model, places(model, ctx.meta[_GIVEN]) | parse_assignments(setting or []), config)


def examples(*lines: str) -> str:
    """Return example commands as the last paragraph of a command's help."""
    return "\n\n".join([f"Example{'s' if len(lines) > 1 else ''}:", *lines])


def _model(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(f"miex.{module}"), name)


def _parameters_of(reference: str) -> "tuple[Parameter, ...]":
    from miex.datasets.flags import parameters

    return parameters(_model(reference))


def _options(parameters: "tuple[Parameter, ...]") -> list[Any]:
    """Return the options and arguments of some parameters, made by typer from a signature."""

    def command(**_: Any) -> None: ...

    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                each.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=list(each.default) if isinstance(each.default, tuple) else each.default,
                annotation=Annotated[_typer_type(each), _declared(each)],
            )
            for each in parameters
        ]
    )
    made = typer.Typer(add_completion=False)
    made.command()(command)
    return list(typer.main.get_command(made).params)


def _declared(parameter: "Parameter") -> Any:
    from miex.datasets.flags import choices_of

    chosen = "|".join(choices_of(parameter.kind))
    metavar = parameter.flag.metavar or chosen or None
    if parameter.flag.argument:
        return typer.Argument(metavar=metavar, help=parameter.description)
    name = parameter.option
    if parameter.kind is bool:
        name = f"{name}/--no-{name.removeprefix('--')}"
    told = parameter.description
    if _repeats(parameter.kind):
        told += " Repeatable."
    return typer.Option(*filter(None, (name, parameter.flag.short)), metavar=metavar, help=told)


def _typer_type(parameter: "Parameter") -> Any:
    from miex.datasets.flags import choices_of

    kind = parameter.kind
    if _repeats(kind):
        kind = list[str]
    elif typing.get_origin(kind) is tuple:
        kind = tuple[float, float]
    elif choices_of(kind) or kind not in (int, float, bool, Path):
        kind = str
    return kind if parameter.default is not None else kind | None


def _repeats(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[-1] is ...
