"""Share what every flow needs: its parameters, its start from the shell, and when to retry."""

import argparse
import errno
import functools
import inspect
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prefect import Flow, Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import MissingContextError, ObjectNotFound, PrefectException
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL
from pydantic import BaseModel

from miex.datasets.config import build, parse_assignments
from miex.datasets.flags import parameters, places
from miex.datasets.paths import masked
from miex.flows.terminal import EXPECTED_ERRORS, describe

_CONFIG = (
    ("config", Path | None, "A YAML file with fields of the config; every parameter wins over it."),
    (
        "settings",
        dict[str, Any] | None,
        'Any other field, nested ones with dots: {"generator.batch_size": 64}; wins over all.',
    ),
)


def parameters_of(model: type[BaseModel]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a flow the parameters that a config model has flags for.

    The decorated function takes the config first, and its own parameters after it. The result
    takes, instead of the config, every flag of the model, and `config` and `settings`. A parameter
    that is None is not given, so that a config file can set it.

    Args:
        model: Class of the config.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        own = list(inspect.signature(function).parameters.values())[1:]
        flags = parameters(model)

        @functools.wraps(function)
        def flow(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments
            values = places(model, {each.name: given.pop(each.name, None) for each in flags})
            settings = given.pop("settings", None) or {}
            with telling_failures():
                config = build(model, values | settings, given.pop("config", None))
                return function(config, **given)

        def optional(name: str, kind: Any) -> inspect.Parameter:
            usual = inspect.Parameter.POSITIONAL_OR_KEYWORD
            return inspect.Parameter(name, usual, default=None, annotation=kind)

        signature = inspect.Signature(
            [
                *(optional(each.name, each.kind | None) for each in flags),
                *(optional(name, kind) for name, kind, _ in _CONFIG),
                *own,
            ],
            return_annotation=inspect.signature(function).return_annotation,
        )
        flow.__signature__ = signature  # type: ignore[attr-defined]
        flow.__annotations__ = {name: it.annotation for name, it in signature.parameters.items()}
        flow.__doc__ = _documented(function, model)
        return flow

    return decorate


def _documented(function: Callable[..., Any], model: type[BaseModel]) -> str:
    """Return a function's docstring with flags in place of the config, for Prefect to show."""
    first = next(iter(inspect.signature(function).parameters))
    text = re.sub(rf"^    {first}: .*\n", "", inspect.getdoc(function) or "", flags=re.MULTILINE)
    lines = []
    for each in parameters(model):
        default = "" if each.default in (None, ()) else f" Default: {_written(each.default)}."
        lines.append(f"    {each.name}: {each.description}{default}")
    lines += [f"    {name}: {description}" for name, _, description in _CONFIG]
    return text.replace("Args:\n", "\n".join(["Args:", *lines, ""]), 1)


def _written(default: Any) -> str:
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)


_WHO_MAY_START = (
    "Whoever can reach the Prefect server (`prefect config view` shows PREFECT_API_URL) can start"
    " this flow with any parameter, and so read and write files as this user. Keep the server on"
    " 127.0.0.1, and give it a password: PREFECT_SERVER_API_AUTH_STRING=user:password for the"
    " server, PREFECT_API_AUTH_STRING for those who use it. It answers requests for any Host."
)
"""Said by every served flow: Prefect's server asks nobody who they are."""


@contextmanager
def telling_failures() -> Iterator[None]:
    """Log an error as one line before a flow run fails, so that whoever watches it sees the reason.

    Logs are sent in batches, and `prefect deployment run --watch` stops reading at the final state;
    the line is therefore sent at once.
    """
    try:
        yield
    except Exception as error:
        with suppress(MissingContextError):
            get_run_logger().error("%s", describe(error))
            APILogHandler().flush()
        raise


_PATIENCE = 120.0
"""Seconds that a flow waits for the Prefect server, which takes about ten to start."""


def wait_for_server(seconds: float = _PATIENCE) -> None:
    """Wait until the Prefect server answers whose address is set; do nothing without an address.

    Raises:
        ConnectionError: The server does not answer.
    """
    address = masked(PREFECT_API_URL.value() or "")
    if not address:
        return
    said = False
    until = time.monotonic() + seconds
    while True:
        with get_client(sync_client=True) as client:
            error = client.api_healthcheck()
        if error is None:
            return
        if time.monotonic() > until:
            raise ConnectionError(
                f"no Prefect server answers at {address} ({error}); start one with `prefect server "
                "start`, or unset PREFECT_API_URL to run without one"
            )
        if not said:
            print(f"waiting for the Prefect server at {address}")
            said = True
        time.sleep(1)


def wait_for_deployment(name: str, seconds: float = _PATIENCE) -> None:
    """Wait until a deployment is served.

    Args:
        name: ``FLOW/DEPLOYMENT``.
        seconds: How long.

    Raises:
        ConnectionError: The server does not answer.
        TimeoutError: Nobody serves the deployment.
    """
    wait_for_server(seconds)
    until = time.monotonic() + seconds
    while True:
        with get_client(sync_client=True) as client, suppress(ObjectNotFound):
            found = client.read_deployment_by_name(name)
            if not found.paused:
                return
        if time.monotonic() > until:
            raise TimeoutError(f"nobody serves {name}; start its file in flows/ with `serve`")
        time.sleep(1)


def run_or_serve(flow: Flow[..., Any], arguments: Sequence[str] | None = None) -> None:
    """Run a flow, serve its deployment `local` until interrupted, or wait until it is served.

    Args:
        flow: The flow.
        arguments: ``[run|serve|wait] [-p NAME=VALUE ...]``, the command line by default.

    Raises:
        SystemExit: With code 2 and one line, for an error that a user can correct.
    """
    parser = argparse.ArgumentParser(
        prog=flow.name, description=(flow.description or "").partition("\n")[0]
    )
    parser.add_argument("action", nargs="?", choices=("run", "serve", "wait"), default="run")
    parser.add_argument(
        "-p",
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the flow, as in `prefect deployment run`; repeatable",
    )
    given = parser.parse_args(arguments)
    try:
        parameters = parse_assignments(given.param)
        if given.action == "wait":
            wait_for_deployment(f"{flow.name}/local")
        elif given.action == "serve":
            print(_WHO_MAY_START)
            wait_for_server()
            flow.serve(name="local", parameters=parameters)
        else:
            print(flow(**parameters))
    except (*EXPECTED_ERRORS, PrefectException) as error:
        # Prefect has already logged the traceback if the flow had started.
        parser.exit(2, f"error: {describe(error)}\n")


_TRANSIENT = {errno.EIO, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT}
"""Errors of file systems, mostly of network shares, that may not occur again."""


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether a task failed with an input or output error that is worth a retry."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) and error.errno in _TRANSIENT


retried = task(
    cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient
)
"""Decorate a function as a task. Files on disk decide what is left to do, not Prefect's cache."""
