"""Every script in examples/ runs to its end, as a user would start it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(script: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, script, out],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "it wrote beside its folder"


def test_examples_are_short_and_listed(root: Path) -> None:
    listed = re.findall(r"\((\w+\.py)\)", (root / "examples" / "README.md").read_text("utf-8"))
    assert sorted(listed) == [path.name for path in EXAMPLES]
    assert len(EXAMPLES) >= 5
    for path in EXAMPLES:
        assert len(path.read_text("utf-8").splitlines()) < 50
