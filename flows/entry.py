"""What every flow shares: its start from the shell, and which failures are worth a retry."""

import argparse
import errno
from collections.abc import Sequence
from typing import Any

from prefect import Flow, Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import PrefectException

from miex.datasets.config import parse_assignments
from miex.flows.terminal import EXPECTED_ERRORS, describe


def run_or_serve(flow: Flow[..., Any], arguments: Sequence[str] | None = None) -> None:
    """Runs a flow, or serves its deployment `local` until interrupted.

    Args:
        flow: The flow.
        arguments: ``[run|serve] [-p NAME=VALUE ...]``, the command line by default.

    Raises:
        SystemExit: With code 2 and one line, for an error that a user can mend.
    """
    parser = argparse.ArgumentParser(
        prog=flow.name, description=(flow.description or "").partition("\n")[0]
    )
    parser.add_argument("action", nargs="?", choices=("run", "serve"), default="run")
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
        if given.action == "serve":
            flow.serve(name="local", parameters=parameters)
        else:
            print(flow(**parameters))
    except (*EXPECTED_ERRORS, PrefectException) as error:
        # Prefect has logged the traceback already, if the flow had begun.
        parser.exit(2, f"error: {describe(error)}\n")


TRANSIENT = {errno.EIO, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT}
"""Errors of file systems, network shares above all, that may be gone a moment later."""


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a task failed by an input or output error that is worth another try."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) and error.errno in TRANSIENT
