"""How fast commands start that compute nothing."""

import resource
import subprocess
import sys

import pytest

LIMIT = 2.0
"""Seconds of processor time, which other programs on the machine change little."""


def processor_time(words: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "miex", *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["recognizers"],
        ["doctor"],
        ["experiment"],
        ["evaluate", "--help"],
        ["synthesize", "--show-config"],
    ],
    ids=" ".join,
)
def test_a_command_that_computes_nothing_starts_fast(words: list[str]) -> None:
    # The first start writes byte code, so the faster one of two counts.
    assert min(processor_time(words) for _ in range(2)) < LIMIT
