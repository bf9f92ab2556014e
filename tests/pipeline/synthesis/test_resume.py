"""A resumed run renders every shard again that it cannot vouch for."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from miex.datasets.seals import SEAL, UNSEALED
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.job import start
from miex.pipeline.synthesis.records import pending


@pytest.fixture(scope="module")
def config(sample_table: Path) -> SynthesisConfig:
    return SynthesisConfig(
        faces=str(sample_table),
        identities=2,
        samples=6,
        rows_per_shard=3,
        generator={"name": "warp"},
    )


@pytest.fixture(scope="module")
def dataset(config: SynthesisConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("resume") / "data"
    synthesize(config, out, workers=1)
    return out


def with_column(name: str, value: object) -> Callable[[pa.Table], pa.Table]:
    """Return a change of one value, in the first row of a column."""

    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[0] = value
        place = table.schema.get_field_index(name)
        return table.set_column(place, table.field(name), pa.array(values, table.field(name).type))

    return change


def with_metadata(**entries: str | None) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        metadata = dict(table.schema.metadata)
        for key, value in entries.items():
            name = SEAL if key == "seal" else f"miex.{key}".encode()
            if value is None:
                metadata.pop(name, None)
            else:
                metadata[name] = value.encode()
        return table.replace_schema_metadata(metadata)

    return change


def other_frame(table: pa.Table) -> pa.Table:
    frames = table["frames"].to_pylist()
    frames[0] = frames[1]
    place = table.schema.get_field_index("frames")
    return table.set_column(
        place, table.field("frames"), pa.array(frames, table.field("frames").type)
    )


CHANGES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "nothing but the file": lambda table: table,
    "label": with_column("label", 2),
    "emotion": with_column("emotion", "surprise"),
    "fine emotion": with_column("fine_emotion", "fear"),
    "identity": with_column("identity", "somebody"),
    "source subject": with_column("source_subject", "sub01"),
    "seed": with_column("seed", 1),
    "template": with_column("template", "folder:x.jpg"),
    "generator": with_column("generator", "other"),
    "frames": other_frame,
    "order": lambda table: table.take([1, 0, *range(2, len(table))]),
    "no seal": with_metadata(seal=None),
    "empty seal": with_metadata(seal=UNSEALED),
    "seal of zeros and a label": lambda table: with_metadata(seal=UNSEALED)(
        with_column("label", 2)(table)
    ),
    "a row less": lambda table: table.slice(1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_shard_is_not_adopted(
    dataset: Path, config: SynthesisConfig, tmp_path: Path, name: str
) -> None:
    out = copy(dataset, tmp_path)
    shard = sorted((out / "data").iterdir())[0]
    with pq.ParquetFile(shard) as file:
        footer = file.metadata.metadata
        table = file.read()
    # What the footer of the file states beyond the schema is kept, as a careful forger would.
    kept = {**footer, **dict(table.schema.metadata or {})}
    changed = CHANGES[name](table.replace_schema_metadata(kept))
    pq.write_table(changed, shard)
    damage_manifest(out)
    assert pending(start(config, out)) == [0]


def copy(dataset: Path, folder: Path) -> Path:
    return Path(shutil.copytree(dataset, folder / "data"))


def damage_manifest(out: Path) -> None:
    path = out / "manifest.json"
    path.write_text(path.read_text()[:-40])


def test_a_shard_under_the_name_of_another_is_not_adopted(
    dataset: Path, config: SynthesisConfig, tmp_path: Path
) -> None:
    out = copy(dataset, tmp_path)
    first, second = sorted((out / "data").iterdir())
    shutil.copy(first, second)
    damage_manifest(out)
    assert pending(start(config, out)) == [1]


def test_shards_without_any_record_are_not_adopted(
    dataset: Path, config: SynthesisConfig, tmp_path: Path
) -> None:
    out = copy(dataset, tmp_path)
    (out / "manifest.json").unlink()
    with pytest.raises(ValueError, match="holds no miex dataset; choose a new folder"):
        start(config, out)


def test_a_damaged_manifest_alone_costs_no_shard(
    dataset: Path, config: SynthesisConfig, tmp_path: Path
) -> None:
    out = copy(dataset, tmp_path)
    damage_manifest(out)
    assert pending(start(config, out)) == []
