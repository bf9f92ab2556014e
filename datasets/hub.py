"""Checkpoints on the Hugging Face Hub: ``hf-hub:USER/NAME`` wherever a checkpoint may be named.

The notation is timm's. ``hf-hub:USER/NAME@REVISION`` names a branch, a tag or a commit. The file is
downloaded once, into the cache of `huggingface_hub`, and read from there without a network
afterwards. The environment variable ``HF_ENDPOINT`` names another Hub, ``HF_TOKEN`` or
``hf auth login`` gives access to private repositories.
"""

import os
import re
from pathlib import Path

from miex.datasets.storage import is_address, local_file

HUB = "hf-hub:"
"""Beginning of the name of a checkpoint on the Hub."""

RECOGNIZER_FILE = "recognizer.safetensors"
"""Name of a recognizer in its repository."""

GENERATOR_FILE = "generator.safetensors"
"""Name of a generator in its repository."""

REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
"""Name of a repository, ``USER/NAME``."""

_SUFFIXES = (".safetensors", ".pth", ".pt")


def is_hub(place: str | Path) -> bool:
    """Return whether a checkpoint is named by its repository on the Hub."""
    return str(place).startswith(HUB)


def endpoint() -> str | None:
    """Return the address of another Hub than huggingface.co, from ``HF_ENDPOINT``."""
    return os.environ.get("HF_ENDPOINT") or None


def require_repository(name: str) -> str:
    """Return the name of a repository, ``USER/NAME``.

    Raises:
        ValueError: The name has another form.
    """
    if not REPOSITORY.fullmatch(name) or ".." in name or "--" in name:
        raise ValueError(
            f"{name!r} is no repository of the Hugging Face Hub; expected USER/NAME of letters,"
            " digits, '-', '_' and '.'"
        )
    return name


def local_checkpoint(path: str | Path, filename: str) -> Path:
    """Return a checkpoint as a local file; one on the Hub is downloaded first.

    Args:
        path: A file or folder, returned with ``~`` expanded, the address of a file
            (``s3://BUCKET/KEY``), or ``hf-hub:USER/NAME[@REVISION]``.
        filename: File in the repository; another one is taken if it is the only checkpoint there.

    Raises:
        FileNotFoundError: No such repository, revision or checkpoint, or it may not be read.
        ValueError: No name of a repository, several checkpoints in it, or the Hub cannot be
            reached.
    """
    if is_address(path):
        return local_file(path)
    if not is_hub(path):
        return Path(path).expanduser()
    name, _, revision = str(path).removeprefix(HUB).partition("@")
    require_repository(name)
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    def download(wanted: str) -> Path:
        found = hf_hub_download(name, wanted, revision=revision or None, endpoint=endpoint())
        return Path(found)

    try:
        try:
            return download(filename)
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            listed = HfApi(endpoint=endpoint()).list_repo_files(name, revision=revision or None)
            return download(_only_checkpoint(listed, path))
    except Exception as error:
        raise unreachable(error, str(path)) from None


def unreachable(error: Exception, place: str) -> Exception:
    """Return an error of `huggingface_hub` as one with a way out; any other as it is.

    Args:
        error: What was raised.
        place: Repository, for the message.
    """
    import httpx
    from huggingface_hub import errors

    reason = " ".join(str(error).split())[:200]
    if isinstance(error, errors.RevisionNotFoundError):
        return FileNotFoundError(f"{place}: the repository has no such revision; leave out @...")
    if isinstance(error, errors.RepositoryNotFoundError):
        return FileNotFoundError(
            f"{place}: no such repository on the Hugging Face Hub, or you may not read it; check"
            " the name, and log in with `hf auth login` or HF_TOKEN if it is private"
        )
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return ValueError(
            f"{place}: the Hugging Face Hub cannot be reached, and the file is not in its cache"
            " yet; check the network and HF_HUB_OFFLINE, or download the file and name its path"
        )
    if isinstance(error, errors.LocalTokenNotFoundError):
        return ValueError(f"{place}: log in with `hf auth login`, or set HF_TOKEN")
    if isinstance(error, errors.HfHubHTTPError):
        return ValueError(f"{place}: the Hugging Face Hub refused the request ({reason})")
    if isinstance(error, httpx.HTTPError):
        return ValueError(
            f"{place}: the Hugging Face Hub cannot be reached ({type(error).__name__}: {reason});"
            " check the network, then start the same command again"
        )
    return error


def _only_checkpoint(files: list[str], path: str | Path) -> str:
    found = sorted(name for name in files if name.endswith(_SUFFIXES))
    if not found:
        raise FileNotFoundError(
            f"{path}: the repository holds no checkpoint ({', '.join(_SUFFIXES)}); `miex push"
            " CHECKPOINT USER/NAME` writes one"
        )
    if len(found) > 1:
        raise ValueError(
            f"{path}: the repository holds {len(found)} checkpoints ({', '.join(found[:4])});"
            " download the one that you mean, and name its path"
        )
    return found[0]
