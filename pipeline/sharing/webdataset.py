"""Export of a dataset to WebDataset: tar shards for streaming trainings.

A sample with the key ``miex-00000042`` is the files ``miex-00000042.frame00.webp`` (the onset),
``.frame01.webp``, ... (the encoded frames of the dataset, byte for byte), ``.cls`` (the label as
digits) and ``.json`` (every other column). The format is that of the package `webdataset`:
https://github.com/webdataset/webdataset.
"""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from miex.datasets.dataset_format import MANIFEST, DatasetFolder
from miex.datasets.files import remove_partial, sha256_file, whole_file
from miex.datasets.paths import plain_name

_CARD = "README.md"


def export_webdataset(
    folder: Path,
    out: Path,
    *,
    samples_per_shard: int = 1000,
    on_samples: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write a dataset as tar shards, with its manifest and card beside them.

    Equal datasets give equal bytes. Shards that an interrupted export finished are written again.

    Args:
        folder: A finished dataset.
        out: Folder of the export; must be empty, or hold an earlier export of this dataset.
        samples_per_shard: Number of samples in a shard; the last one may have fewer.
        on_samples: Called with the number of samples written since the last call.

    Returns:
        The shards, ``NAME-000000.tar`` and so on.

    Raises:
        FileNotFoundError: The folder holds no finished dataset.
        FileExistsError: `out` holds other files.
        ValueError: A shard of the dataset differs from its manifest.
        DiskFullError: The disk is full.
    """
    dataset = DatasetFolder.open(folder)
    name = plain_name(dataset.manifest["name"], str(dataset.folder / MANIFEST))
    _require_free(out, name, folder)
    shards: list[Path] = []
    rows = _checked_rows(dataset)
    while batch := list(islice(rows, samples_per_shard)):
        path = out / f"{name}-{len(shards):06d}.tar"
        with whole_file(path) as temporary:
            _write_shard(temporary, batch)
        shards.append(path)
        if on_samples:
            on_samples(len(batch))
    for beside in (MANIFEST, _CARD):
        if (folder / beside).is_file():
            with whole_file(out / beside) as temporary:
                shutil.copyfile(folder / beside, temporary)
    return shards


def _require_free(out: Path, name: str, folder: Path) -> None:
    if not out.exists():
        return
    remove_partial(out)
    other = [
        path.name
        for path in out.iterdir()
        if path.name not in (MANIFEST, _CARD)
        and not (path.suffix == ".tar" and path.name.startswith(f"{name}-"))
    ]
    if other or (out / "data").is_dir() or out.resolve() == folder.resolve():
        raise FileExistsError(
            f"{out} holds other files ({', '.join(sorted(other)[:3])}); give another folder"
        )
    for path in out.glob(f"{name}-*.tar"):
        path.unlink()


def _checked_rows(dataset: DatasetFolder) -> Iterator[dict[str, Any]]:
    for shard, path in zip(dataset.manifest["shards"], dataset.shards, strict=True):
        if not path.is_file() or sha256_file(path) != shard["sha256"]:
            raise ValueError(
                f"{path} is missing or differs from the manifest;"
                f" `miex verify {dataset.folder}` says what is wrong"
            )
    yield from dataset.rows()


def _write_shard(path: Path, rows: list[dict[str, Any]]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            frames, label = row.pop("frames"), row["label"]
            key = row["sample_id"]
            for number, frame in enumerate(frames):
                suffix = frame["path"].rpartition(".")[2]
                _add(tar, f"{key}.frame{number:02d}.{suffix}", frame["bytes"])
            _add(tar, f"{key}.cls", str(label).encode())
            _add(tar, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(plain_name(name, "a sample"))
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
