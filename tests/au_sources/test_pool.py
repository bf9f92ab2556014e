import errno
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.pool import AUPair, AUPool
from miex.au_sources.pool_file import SCHEMA
from miex.datasets.files import DiskFullError
from miex.datasets.labels import LABEL_SPACES, Emotion


def vector(**aus: float) -> np.ndarray:
    values = np.zeros(17, dtype=np.float32)
    for name, value in aus.items():
        values[AU_NAMES.index(name)] = value
    return values


def real(emotion: Emotion = Emotion.FEAR, subject: str = "1", **fields: Any) -> AUPair:
    content: dict[str, Any] = dict(
        onset=vector(), apex=vector(AU12=1), source="real_mie", dataset="casme2", clip="EP01"
    )
    return AUPair(emotion=emotion, subject=subject, **(content | fields))


@pytest.fixture
def pool() -> AUPool:
    track = np.stack([vector(), vector(AU12=0.4), vector(AU12=1)])
    longer = np.linspace(vector(AU01=0.1), vector(AU01=2), 7)
    return AUPool.from_pairs(
        [
            real(Emotion.HAPPINESS, "1", onset_frame=46, apex_frame=59, estimator="openface 2.2"),
            real(Emotion.NEGATIVE, "s1", dataset="smic", clip=None, track=track),
            AUPair(vector(), vector(AU04=1.5), Emotion.ANGER, "expert", estimator="table miex 1"),
            real(
                Emotion.SURPRISE,
                "1",
                dataset="samm",
                onset=vector(AU01=0.1),
                apex=vector(AU01=2),
                track=longer,
            ),
            real(Emotion.OTHERS, "2", apex=vector(AU45=float("nan"), AU02=0.5)),
            real(Emotion.FEAR, "2", apex=vector()),
        ],
        citation="Someone 2020",
        licence="research only",
    )


def equal(left: AUPair, right: AUPair) -> bool:
    arrays = all(
        np.array_equal(getattr(left, name), getattr(right, name), equal_nan=True)
        for name in ("onset", "apex")
    )
    tracks = (left.track is None) == (right.track is None) and (
        left.track is None or np.array_equal(left.track, right.track)  # type: ignore[arg-type]
    )
    rest = all(getattr(left, n) == getattr(right, n) for n in SCHEMA.names[:8])
    return arrays and tracks and rest


def test_a_file_gives_back_every_pair(pool: AUPool, tmp_path: Path) -> None:
    path = tmp_path / "new" / "pool.parquet"
    pool.write(path)
    read = AUPool.read(path)
    assert len(read) == 6
    assert all(equal(a, b) for a, b in zip(pool, read, strict=True))
    assert np.isnan(read[4].apex[AU_NAMES.index("AU45")])
    assert [None if p.track is None else len(p.track) for p in read] == [
        *(None, 3, None, 7, None, None)
    ]
    assert isinstance(read[0].emotion, Emotion)
    assert (read.citation, read.licence) == ("Someone 2020", "research only")
    assert os.listdir(path.parent) == ["pool.parquet"]


def test_rows_are_addressed_like_a_list(pool: AUPool) -> None:
    assert equal(pool[-1], pool[5])
    for row in (6, -7):
        with pytest.raises(IndexError, match=f"pair {row} of a pool of 6"):
            pool[row]


def test_nothing_in_a_pool_can_be_changed(pool: AUPool) -> None:
    for array in (pool.onset, pool.apex, pool[0].apex, pool[1].track):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_a_pair_keeps_its_own_copy() -> None:
    apex = vector(AU12=1)
    pair = real(apex=apex)
    apex[:] = 0
    assert pair.apex.any()


def test_a_pool_travels_between_processes(pool: AUPool) -> None:
    assert pickle.loads(pickle.dumps(pool)).sha256 == pool.sha256


def test_the_hash_is_of_the_content(pool: AUPool, tmp_path: Path) -> None:
    path = tmp_path / "pool.parquet"
    pool.write(path)
    pq.write_table(pq.read_table(path), path, compression="none", row_group_size=2)
    assert AUPool.read(path).sha256 == pool.sha256
    assert AUPool.from_pairs(pool).sha256 == pool.sha256
    assert AUPool.from_pairs(reversed(list(pool))).sha256 != pool.sha256
    assert pool.filter(exclude_subjects={("casme2", "2")}).sha256 != pool.sha256
    zero = AUPool.from_pairs([real(onset=vector())])
    negative_zero = AUPool.from_pairs([real(onset=-vector())])
    assert zero.sha256 == negative_zero.sha256


def test_pools_merge(pool: AUPool) -> None:
    other = AUPool.from_pairs([real(track=np.stack([vector(), vector(AU12=1)]))], citation="Else")
    merged = AUPool.merge([pool, other, pool])
    assert len(merged) == 13
    assert merged.citation == "Someone 2020; Else"
    assert equal(merged[6], other[0])
    assert equal(merged[10], pool[3])
    with pytest.raises(ValueError, match="no AU pools to merge"):
        AUPool.merge([])


def test_filter_by_subject_keeps_databases_apart(pool: AUPool) -> None:
    kept = pool.filter(exclude_subjects=[("casme2", "1")])
    assert [pair.dataset for pair in kept] == ["smic", None, "samm", "casme2", "casme2"]
    assert kept[2].track is not None
    assert len(kept[2].track) == 7
    only = pool.filter(subjects={("samm", "1")})
    assert [pair.emotion for pair in only] == [Emotion.SURPRISE]
    assert equal(only[0], pool[3])


def test_filter_by_emotion_and_source(pool: AUPool) -> None:
    assert len(pool.filter(emotions=[Emotion.ANGER, Emotion.FEAR])) == 2
    assert [p.source for p in pool.filter(sources=["expert"])] == ["expert"]
    empty = pool.filter(emotions=[Emotion.CONTEMPT])
    assert len(empty) == 0
    assert list(empty) == []
    assert empty.describe().active_aus == 0


def test_rows_by_class(pool: AUPool) -> None:
    rows = pool.indices_by_class(LABEL_SPACES["three_class"])
    assert {name: list(r) for name, r in rows.items()} == {
        "negative": [1, 2, 5],
        "positive": [0],
        "surprise": [3],
    }
    assert not pool.indices_by_class(LABEL_SPACES["samm_5class"])["contempt"].size


def test_numbers_of_a_pool(pool: AUPool) -> None:
    summary = pool.describe()
    assert summary.pairs == 6
    assert summary.null_pairs == 1
    assert summary.by_source == {"real_mie": 5, "expert": 1}
    assert summary.by_emotion["negative"] == 1
    assert summary.by_dataset == {"casme2": 3, "smic": 1, "none": 1, "samm": 1}
    assert summary.au_frequency["AU12"] == pytest.approx(2 / 6)
    assert summary.au_frequency["AU45"] == 0
    assert summary.au_missing["AU45"] == 1
    assert summary.au_missing["AU12"] == 0
    assert summary.active_aus == pytest.approx(5 / 6)
    assert pool.describe(threshold=1.2).active_aus == pytest.approx(2 / 6)


def test_an_au_that_nobody_measured_has_no_frequency() -> None:
    pair = real(onset=vector(AU45=float("nan")))
    assert AUPool.from_pairs([pair]).describe().au_frequency["AU45"] is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"apex": vector(AU12=6)}, r"apex of an AU pair: AU12 is 6\.0"),
        ({"onset": np.zeros(16)}, r"onset of an AU pair: shape \(16,\)"),
        ({"onset": np.zeros((2, 17))}, r"onset \(2, 17\) and apex \(17,\)"),
        ({"track": np.zeros((3, 17))}, "does not lead from onset to apex"),
        ({"track": vector(AU12=1)[None]}, "does not lead from onset to apex"),
        ({"source": "openface"}, "source 'openface', expected real_mie, early_mae, expert"),
        ({"emotion": "bored"}, "unknown emotion 'bored'"),
        ({"subject": None}, "a real_mie pair needs its dataset and subject"),
        ({"dataset": None, "source": "early_mae"}, "an? early_mae pair needs its dataset"),
        ({"apex_frame": -1}, "frame number -1"),
        ({"apex_frame": 2**31}, "frame number 2147483648"),
    ],
)
def test_wrong_pairs_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        real(**fields)


def test_an_empty_pool_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pool\.parquet: the AU pool has no pairs to write"):
        AUPool.from_pairs([]).write(tmp_path / "pool.parquet")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_pool(
    pool: AUPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pool.parquet"
    pool.write(path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(DiskFullError, match=r"the disk is full while writing .*pool\.parquet"):
        pool.filter(emotions=[Emotion.FEAR]).write(path)
    assert os.listdir(tmp_path) == ["pool.parquet"]
    assert len(AUPool.read(path)) == 6


def changed(pool: AUPool, path: Path, column: str, values: list[Any]) -> Path:
    """The pool's file with one column replaced."""
    pool.write(path)
    table = pq.read_table(path)
    at = table.schema.get_field_index(column)
    field = table.schema.field(at)
    array = pa.array(values, field.type)
    pq.write_table(table.set_column(at, field, array), path)
    return path


BAD_VECTOR = [0.0] * 16 + [7.0]


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("emotion", 1, "bored", r"row 1, emotion: 'bored', expected one of happiness, sadness"),
        ("source", 2, "guess", r"row 2, source: 'guess', expected one of real_mie"),
        ("apex", 3, BAD_VECTOR, r"row 3, apex: .*7\.0.*expected AUs from 0 to 5 or NaN"),
        ("onset", 0, [float("inf")] * 17, r"row 0, onset: .*inf"),
        ("track", 1, [[0.0] * 17], r"row 1, track: .*at least two frames"),
        ("track", 0, [], r"row 0, track: \[\], expected at least two frames"),
        ("track", 1, [[0.0] * 17, BAD_VECTOR, [0.0] * 17], r"row 1, track: .*AUs from 0 to 5"),
        ("track", 3, [[0.0] * 17] * 3, r"row 3, track: .*the pair's onset"),
        ("subject", 4, None, r"row 4, subject: None, expected dataset and subject"),
    ],
)
def test_wrong_values_in_a_file_are_located(
    pool: AUPool, tmp_path: Path, column: str, row: int, value: object, message: str
) -> None:
    values = [
        getattr(pair, column)
        if not isinstance(getattr(pair, column), np.ndarray)
        else getattr(pair, column).tolist()
        for pair in pool
    ]
    values[row] = value
    path = changed(pool, tmp_path / "pool.parquet", column, values)
    with pytest.raises(ValueError, match=rf"(?s)pool\.parquet: {message}"):
        AUPool.read(path)


def test_files_that_are_no_pools(pool: AUPool, tmp_path: Path) -> None:
    path = tmp_path / "pool.parquet"
    with pytest.raises(FileNotFoundError, match="no AU pool at"):
        AUPool.read(path)
    path.write_text("emotion,AU01\nfear,1\n")
    with pytest.raises(ValueError, match=r"pool\.parquet: not a readable Parquet file"):
        AUPool.read(path)
    pq.write_table(pa.table({"emotion": ["fear"]}), path)
    with pytest.raises(ValueError, match=r"not an AU pool of this version \(format None"):
        AUPool.read(path)
    pool.write(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        AUPool.read(path)


def test_wrong_columns_are_named(pool: AUPool, tmp_path: Path) -> None:
    path = tmp_path / "pool.parquet"
    pool.write(path)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["apex"]), path)
    with pytest.raises(ValueError, match=r"column 'apex' is absent; write it with AUPool"):
        AUPool.read(path)
    at = table.schema.get_field_index("clip")
    numbers = table.set_column(at, "clip", pa.array(range(6), pa.int64()))
    pq.write_table(numbers, path)
    with pytest.raises(ValueError, match="column 'clip' is int64, expected string"):
        AUPool.read(path)
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(ValueError, match="the AU pool has no rows"):
        AUPool.read(path)
    nulls = table.set_column(1, "emotion", pa.array([None] + ["fear"] * 5, pa.string()))
    pq.write_table(nulls, path)
    with pytest.raises(ValueError, match="row 0, emotion: null"):
        AUPool.read(path)


def test_many_pairs_stay_small(tmp_path: Path) -> None:
    pairs = [real(subject=str(n % 50), track=None) for n in range(2000)]
    pool = AUPool.from_pairs(pairs)
    assert pool.onset.nbytes + pool.apex.nbytes == 2000 * 17 * 4 * 2
    pool.write(tmp_path / "p.parquet")
    assert AUPool.read(tmp_path / "p.parquet").sha256 == pool.sha256
