"""Face tables, AU pools, expert tables and checkpoints at addresses that fsspec knows."""

from pathlib import Path

import numpy as np
import pytest

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.base import open_source
from miex.au_sources.pool import AUPair, AUPool
from miex.datasets import storage
from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.labels import Emotion
from miex.generators._auto import embedded_weights
from miex.generators.base import GeneratorConfig, create_generator
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.job import reopen


def write_pool(path: Path) -> Path:
    apexes = np.zeros((3, 17), np.float32)
    pairs = []
    for number, (au, emotion) in enumerate(
        [("AU04", Emotion.ANGER), ("AU12", Emotion.HAPPINESS), ("AU01", Emotion.SURPRISE)]
    ):
        apexes[number, AU_NAMES.index(au)] = 1.5
        origin = {"dataset": "casme2", "subject": "1", "clip": f"EP0{number}"}
        zeros = np.zeros(17, np.float32)
        pairs.append(AUPair(zeros, apexes[number], emotion, "real_mie", **origin))
    AUPool.from_pairs(pairs).write(path)
    return path


@pytest.fixture(params=["memory", "file", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of an empty folder; s3 needs the extra `miex[s3]` and moto."""
    monkeypatch.setenv("MIEX_CACHE", str(tmp_path / "cache"))
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/inputs"
    folder = {"memory": tmp_path.name, "file": f"/{tmp_path}/store"}[request.param]
    return f"{request.param}://{folder}"


def put(path: Path, store: str) -> str:
    """Copy a file into the store and return its address."""
    target = Path(f"{store}/{path.name}")
    storage.store(path, target)
    return storage.address_of(target)


def rows(folder: Path) -> list[dict[str, object]]:
    names = ["aus", "frames", "label", "identity", "source_clip", "generator_sha256", "motion"]
    return list(DatasetFolder.open(folder).rows(names))


def test_inputs_at_addresses_give_the_same_samples(
    sample_table: Path, tmp_path: Path, store: str
) -> None:
    pool, weights = write_pool(tmp_path / "pool.parquet"), embedded_weights()
    assert weights is not None
    options = {"identities": 2, "samples": 6, "quality": {"min_identity_similarity": -1}}

    def config(faces: str, pool: str, weights: str) -> SynthesisConfig:
        generator = {"name": "ganimation", "checkpoint": weights}
        return SynthesisConfig(
            faces=faces, sources=(f"pool:{pool}",), generator=generator, **options
        )

    here, there = tmp_path / "here", tmp_path / "there"
    synthesize(config(str(sample_table), str(pool), str(weights)), here, workers=1)
    addresses = [put(path, store) for path in (sample_table, pool, Path(weights))]
    manifest = synthesize(config(*addresses), there, workers=1)
    assert rows(there) == rows(here)
    assert manifest["inputs"]["sources"][0]["sha256"] == AUPool.read(pool).sha256
    # A later process finds the inputs where the manifest says.
    assert reopen(there).samples == 6


def test_a_face_table_at_an_address_is_read_there(sample_table: Path, store: str) -> None:
    found = FaceTable.open(Path(put(sample_table, store)))
    expected = FaceTable.open(sample_table)
    assert len(found.people) == len(expected.people)
    assert found.sha256 == expected.sha256
    ours, theirs = (table.load([1])[0] for table in (found, expected))
    assert np.array_equal(ours.crop, theirs.crop)
    assert np.array_equal(ours.embedding, theirs.embedding)


def test_absent_inputs_at_addresses_are_named(store: str) -> None:
    absent = f"{store}/absent"
    with pytest.raises(FileNotFoundError, match=r"absent\.parquet"):
        open_source(f"pool:{absent}.parquet")
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml"):
        open_source(f"expert:{absent}.yaml")
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors"):
        create_generator(GeneratorConfig(name="ganimation", checkpoint=f"{absent}.safetensors"))
    with pytest.raises(FileNotFoundError, match=r"absent\.parquet"):
        FaceTable.open(Path(f"{absent}.parquet"))


def test_damaged_inputs_at_addresses_are_named(tmp_path: Path, store: str) -> None:
    damaged = {}
    for name in ("pool.parquet", "table.yaml", "weights.safetensors"):
        (tmp_path / name).write_bytes(b"something else")
        damaged[name] = put(tmp_path / name, store)
    with pytest.raises(ValueError, match="pool"):
        open_source(f"pool:{damaged['pool.parquet']}")
    with pytest.raises(ValueError, match="expected the fields of a table"):
        open_source(f"expert:{damaged['table.yaml']}")
    with pytest.raises(ValueError, match="weights"):
        create_generator(
            GeneratorConfig(name="ganimation", checkpoint=damaged["weights.safetensors"])
        )
