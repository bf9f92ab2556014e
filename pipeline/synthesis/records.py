"""Records of the finished shards of a job: written beside the shards, and summed at the end.

A record is a JSON document in the state folder, with everything that the manifest needs to know of
a shard. Finishing a dataset reads the records and lists the files, but opens no shard.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.documents import read_document
from miex.datasets.seals import has_valid_seal, known_sha256
from miex.datasets.storage import is_address, remove, shown, size, sizes
from miex.pipeline.synthesis.job import STATE, Job
from miex.pipeline.synthesis.manifest import write_json
from miex.pipeline.synthesis.render import Rejection
from miex.pipeline.synthesis.shard_files import ShardRecord, read_shard_record, shard_path
from miex.pipeline.synthesis.tally import Tally
from miex.pipeline.workers import cores, map_in_threads

_BLOCK = 1000
"""Shards that are looked at together, which bounds the memory."""

_REQUESTS = 32
"""Requests to a store at a time: each waits some 20 ms for its answer."""


def record_shard(job: Job, record: ShardRecord) -> None:
    """Record a shard that was just written."""
    tally = None if record.tally is None else record.tally.content()
    content = asdict(replace(record, tally=None)) | {"tally": tally}
    write_json(_place(job, record.number), {"fingerprint": job.fingerprint, **content})


def _place(job: Job, number: int) -> Path:
    return job.out / STATE / f"shard-{number:05d}.json"


def _recorded(job: Job, number: int) -> ShardRecord | None:
    """Return the record of a shard, or None if there is none or it is damaged."""
    try:
        content = read_document(_place(job, number), "record", "the shard is made again")
        if content.pop("fingerprint") != job.fingerprint:
            return None
        rejections = tuple(Rejection(**each) for each in content.pop("rejections"))
        tally = Tally.of(content.pop("tally"))
        return ShardRecord(**content, rejections=rejections, tally=tally)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def finished_manifest(job: Job) -> dict[str, Any] | None:
    """Return the manifest of the job's dataset, or None if it is not finished or is damaged."""
    try:
        manifest = DatasetFolder.open(job.out).manifest
    except (OSError, ValueError):
        return None
    return manifest if manifest["fingerprint"] == job.fingerprint else None


def finished_shard(job: Job, number: int) -> ShardRecord | None:
    """Return the record of a shard, or None if its file is missing, damaged or changed.

    The file is compared with the hash that was recorded when it was written; at an address only
    its size is, since a store verifies what it keeps. If no hash was recorded, because the run was
    killed after it had renamed the file, the checksum in the file is verified; at an address the
    shard is rendered again.
    """
    return _finished(job, number, finished_manifest(job))


def _finished(job: Job, number: int, manifest: dict[str, Any] | None) -> ShardRecord | None:
    record = _recorded(job, number)
    if record is None and manifest is not None:
        record = ShardRecord(number, **manifest["shards"][number], rejections=())
    path = job.out / shard_path(number, job.shards)
    if record is not None:
        if is_address(path):
            return record if size(path) == record.bytes else None
        return record if path.is_file() and known_sha256(path) == record.sha256 else None
    if is_address(path) or not has_valid_seal(path):
        return None
    return read_shard_record(job.out, number, job.shards, job.fingerprint, job.inputs.plan.spec_of)


def pending(job: Job) -> list[int]:
    """Return the numbers of the shards that are missing, damaged or changed since written."""
    manifest = finished_manifest(job)
    present = sizes(job.out / "data")

    def is_missing(number: int) -> bool:
        name = shard_path(number, job.shards).removeprefix("data/")
        return name not in present or _finished(job, number, manifest) is None

    missing: list[int] = []
    for block in _blocks(job):
        answers = map_in_threads(is_missing, block, _threads(job))
        missing += [number for number, answer in zip(block, answers, strict=True) if answer]
    return missing


def records(job: Job) -> Iterator[ShardRecord]:
    """Yield the record of every shard of a job, in order.

    A recorded shard is not read: its file has to be there with its size.

    Raises:
        ValueError: A shard is missing.
    """
    present = sizes(job.out / "data")

    def look(number: int) -> ShardRecord | None:
        record = _recorded(job, number)
        name = shard_path(number, job.shards).removeprefix("data/")
        if record is not None and present.get(name) == record.bytes:
            return record
        return _finished(job, number, None)

    missing: list[int] = []
    for block in _blocks(job):
        for number, record in zip(block, map_in_threads(look, block, _threads(job)), strict=True):
            if record is None:
                missing.append(number)
            elif not missing:
                yield record
    _require_none(job, missing)


def require_files(job: Job, manifest: dict[str, Any]) -> None:
    """Check that every shard of a manifest is there with its size.

    Raises:
        ValueError: A shard is missing.
    """
    present = sizes(job.out / "data")
    found = [present.get(each["path"].removeprefix("data/")) for each in manifest["shards"]]
    expected = [each["bytes"] for each in manifest["shards"]]
    pairs = enumerate(zip(found, expected, strict=True))
    _require_none(job, [number for number, (have, want) in pairs if have != want])


def _require_none(job: Job, missing: list[int]) -> None:
    if missing:
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise ValueError(
            f"{shown(job.out)}: shards {missing[:10]}{more} are not rendered yet; call render_shard"
            " for each of them"
        )


def _blocks(job: Job) -> Iterator[range]:
    for start in range(0, job.shards, _BLOCK):
        yield range(start, min(start + _BLOCK, job.shards))


def _threads(job: Job) -> int:
    return _REQUESTS if is_address(job.out) else cores()


def clear_state(job: Job) -> None:
    """Remove the state folder of a finished dataset, whose content the manifest holds."""
    remove(job.out / STATE)
