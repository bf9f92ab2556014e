import numpy as np
import pytest
from numpy.typing import NDArray

from miex.pipeline.faces import near
from miex.pipeline.faces.near import near_pairs, search_method


def people(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return embeddings like dlib's (norm 1.4, strangers 0.8 apart); every tenth has a double."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=128)
    vectors = 1.25 * common / np.linalg.norm(common) + 0.05 * rng.normal(size=(count, 128))
    doubles = rng.normal(size=(count // 10, 128))
    doubles *= rng.uniform(0.02, 0.33, (count // 10, 1)) / np.linalg.norm(doubles, axis=1)[:, None]
    vectors[-(count // 10) :] = vectors[: count // 10] + doubles
    return vectors.astype(np.float32)


def test_every_pair_below_the_limit_is_found_in_order() -> None:
    vectors = people(5000)
    distances = np.linalg.norm(vectors[:50, None] - vectors[None, :50], axis=2)
    assert 0.7 < np.median(distances) < 0.9
    found = list(near_pairs(vectors, 0.35))
    assert [pair[:2] for pair in found] == sorted(pair[:2] for pair in found)
    assert {(n, 4500 + n) for n in range(500)} <= {pair[:2] for pair in found}
    for i, j, distance in found[:20]:
        assert i < j
        assert distance == pytest.approx(np.linalg.norm(vectors[i] - vectors[j]), abs=1e-6)


def test_an_index_finds_almost_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    vectors = people(20_000, seed=1)
    exact = {pair[:2]: pair[2] for pair in near_pairs(vectors, 0.35)}
    monkeypatch.setattr(near, "EXACT_UP_TO", 1000)
    found = list(near_pairs(vectors, 0.35, search_method(len(vectors))))
    assert [pair[:2] for pair in found] == sorted(pair[:2] for pair in found)
    assert all(exact[i, j] == distance for i, j, distance in found)
    assert len(found) >= 0.99 * len(exact)


def test_the_method_depends_on_the_number_of_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    assert search_method(near.EXACT_UP_TO) == "exact"
    versions = {"faiss-cpu": "1.2"}
    monkeypatch.setattr(near.metadata, "version", versions.__getitem__)
    assert search_method(near.EXACT_UP_TO + 1) == "faiss 1.2"


def test_a_long_comparison_is_announced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(near, "EXACT_UP_TO", 10)
    assert list(near_pairs(people(40), 0.01)) == []
    assert "every pair of 40 faces" in caplog.text
    assert "pip install 'miex[scale]'" in caplog.text
