"""Every block of README.md, run in order in one shell, as a user would paste it.

A comment `<!-- not run: REASON -->` before a block skips it.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]*?) -->\n)?^```(?P<language>bash|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
MINUTES = 40


class Block(NamedTuple):
    language: str
    code: str
    reason: str | None


def blocks(root: Path) -> list[Block]:
    text = (root / "README.md").read_text("utf-8")
    return [Block(m["language"], m["code"], m["reason"]) for m in BLOCK.finditer(text)]


def script(found: list[Block]) -> str:
    """One shell script of all blocks; a Python block is a program of its own."""
    parts = ["set -eo pipefail"]
    for number, block in enumerate(found):
        if block.reason is not None:
            continue
        parts.append(f"echo '### block {number}' >&2")
        if block.language == "python":
            parts.append(f"cat > block{number}.py <<'END OF BLOCK'\n{block.code}END OF BLOCK")
            parts.append(f"python block{number}.py")
        else:
            parts.append(block.code)
    return "\n".join([*parts, "echo '### end' >&2"])


def copy_of_tracked_files(root: Path, folder: Path) -> None:
    """What a clone holds, with changes that are not committed."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)


def test_every_block_has_a_language_and_a_skipped_one_a_reason(root: Path) -> None:
    text = (root / "README.md").read_text("utf-8")
    assert text.count("```") == 2 * len(blocks(root))
    assert not re.search(r"^    (miex|prefect|make|pip) ", text, re.MULTILINE)
    run = [block for block in blocks(root) if block.reason is None]
    assert len(run) >= 6
    assert all(block.reason for block in blocks(root) if block.reason is not None)


def test_the_shell_reads_every_block(root: Path) -> None:
    for block in blocks(root):
        if block.language == "bash":
            done = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        else:
            compile(block.code, "README.md", "exec")
    assert len(blocks(root)) > 10


@pytest.mark.slow
def test_the_readme_works_as_printed(root: Path, tmp_path: Path) -> None:
    copy_of_tracked_files(root, tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if "PREFECT" not in name}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    log = tmp_path / "readme.log"
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            ["bash", "-c", script(blocks(root))],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(60 * MINUTES)
        finally:
            end_group(process.pid)
            stop = ["prefect", "server", "stop"]
            subprocess.run(stop, env=environment, cwd=tmp_path, capture_output=True, check=False)
    text = log.read_text("utf-8", errors="replace")
    assert code == 0, text[-4000:]
    assert "### end" in text
    # What is still running then is ended by this test.
    text = text.partition("### end")[0]
    assert "Traceback" not in text
    for noise in ("Warning:", "DeprecationWarning", "FutureWarning", "UserWarning"):
        assert noise not in text
    assert (tmp_path / "out" / "pretrained" / "recognizer.safetensors").is_file()
    assert (tmp_path / "out" / "tour" / "results" / "index.html").is_file()


def end_group(group: int) -> None:
    """End what the blocks left running in the background."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, sent)
        except ProcessLookupError:
            return
        time.sleep(3)
