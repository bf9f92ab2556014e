import shutil
from pathlib import Path

import pytest

from miex.datasets import storage
from miex.datasets.dataset_format import DatasetFolder
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.reports.overview import open_overview
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.job import start
from miex.pipeline.synthesis.records import pending
from miex.pipeline.synthesis.run import complete, redraw, render_shard
from miex.pipeline.synthesis.verify import verify


def stored(folder: Path) -> dict[str, bytes]:
    """Return every file of a dataset that must be equal for equal configs."""
    names = [name for name in storage.sizes(folder) if name != "run.json"]
    return {
        name: storage.read_bytes(folder / name)
        for name in names
        if not name.startswith("report/") and name != "faces.parquet"
    }


def test_a_dataset_at_an_address_equals_one_in_a_folder(
    sample_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEX_CACHE", str(tmp_path / "cache"))
    table = Path(f"memory://{tmp_path.name}/faces.parquet")
    storage.store(sample_table, table)
    config = SynthesisConfig(
        faces=storage.address_of(table), identities=2, samples=7, rows_per_shard=3
    )
    here, there = tmp_path / "here", Path(f"memory://{tmp_path.name}/miex")
    synthesize(config, here, workers=1)
    synthesize(config, there, workers=1)
    assert stored(there) == stored(here)
    assert storage.exists(there / "report" / "index.html")
    assert verify(there, workers=1) == []
    assert len(DatasetFolder.open(there)) == 7
    kept = next(DatasetFolder.open(there).rows(["sample_id", "motion"]))
    again = redraw(there, kept["sample_id"])
    assert isinstance(again, dict)
    assert again["motion"] == pytest.approx(kept["motion"])

    lost = DatasetFolder.open(there).manifest["shards"][1]["path"]
    storage.remove(there / lost)
    assert verify(there, workers=1)[0].where == lost
    job = start(config, there, workers=1)
    with pytest.raises(ValueError, match=r"memory://.*shards \[1\] are not rendered"):
        complete(job)
    assert pending(job) == [1]
    render_shard(job, 1)
    complete(job)
    assert stored(there) == stored(here)
    other = config.model_copy(update={"seed": 5})
    with pytest.raises(ValueError, match=r"memory://.* holds another dataset; .*config.seed"):
        start(other, there, workers=1)


def test_a_resumed_run_at_an_address_renders_what_is_missing(
    sample_table: Path, tmp_path: Path
) -> None:
    config = SynthesisConfig(faces=str(sample_table), identities=2, samples=4, rows_per_shard=2)
    out = Path(f"memory://{tmp_path.name}/resumed")
    job = start(config, out, workers=1)
    render_shard(job, 0)
    assert pending(job) == [1]
    # A run that was killed between the shard and its record renders the shard again.
    storage.remove(out / ".miex" / "shard-00000.json")
    assert pending(job) == [0, 1]
    with pytest.raises(ValueError, match="no miex dataset"):
        start(config, Path(f"memory://{tmp_path.name}"), workers=1)


def test_a_report_on_a_large_dataset_reads_a_part_of_it(
    sample_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miex.pipeline.reports.overview._MOST_SAMPLES", 4)
    config = SynthesisConfig(faces=str(sample_table), identities=2, samples=8, rows_per_shard=1)
    manifest = synthesize(config, tmp_path / "data", workers=1)
    part = open_overview(tmp_path / "data")
    assert len(part) == 4
    assert part.manifest["counts"] == manifest["counts"]
    page = (tmp_path / "data" / "report" / "index.html").read_text()
    assert "those of 4 of 8 samples" in page


def test_many_shards_have_folders_and_lists(
    sample_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SynthesisConfig(faces=str(sample_table), identities=2, samples=7, rows_per_shard=2)
    synthesize(config, tmp_path / "one", workers=1)
    for module in ("pipeline.synthesis.manifest", "pipeline.synthesis.shard_files"):
        monkeypatch.setattr(f"miex.{module}.SHARDS_PER_FOLDER", 3)
    out = tmp_path / "several"
    synthesize(config, out, workers=1)
    assert sorted(storage.sizes(out / "data")) == [
        "00000/shards.json",
        *(f"00000/train-0000{number}-of-00004.parquet" for number in range(3)),
        "00001/shards.json",
        "00001/train-00003-of-00004.parquet",
    ]
    one, several = DatasetFolder.open(tmp_path / "one"), DatasetFolder.open(out)
    assert several.manifest["format"] == "miex-dataset/2"
    assert several.manifest["counts"] == one.manifest["counts"]
    assert list(several.rejections()) == one.manifest["rejections"]
    assert [shard["sha256"] for shard in several.manifest["shards"]] == [
        shard["sha256"] for shard in one.manifest["shards"]
    ]
    assert verify(out, workers=1) == []
    assert "data/*/train-*.parquet" in (out / "README.md").read_text()
    assert pending(start(config, out, workers=1)) == []
    shutil.rmtree(out / "data" / "00001")
    with pytest.raises(FileNotFoundError, match=r"00001/shards\.json"):
        DatasetFolder.open(out)
    assert pending(start(config, out, workers=1)) == [3]
