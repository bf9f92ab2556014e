import itertools

import cv2
import numpy as np
import pytest

from miex.pipeline.assessment.embeddings import open_embedding
from miex.pipeline.assessment.realism import (
    fid,
    halves,
    kid,
    measure_realism,
    paired_kid,
    paired_terms,
    scaled,
    texture,
)


def slow_kid(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def mean(pairs: list) -> float:
        return sum(kernel(a, b) for a, b in pairs) / len(pairs)

    return (
        mean(list(itertools.permutations(x, 2)))
        + mean(list(itertools.permutations(y, 2)))
        - 2 * mean(list(itertools.product(x, y)))
    )


def test_kid_equals_its_definition():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 5)), rng.normal(0.3, 1.2, size=(9, 5))
    assert kid(x, y) == pytest.approx(slow_kid(x, y), rel=1e-10)


def test_kid_is_zero_on_average_and_grows_with_the_difference():
    rng = np.random.default_rng(0)
    same = [kid(rng.normal(size=(20, 8)), rng.normal(size=(20, 8))) for _ in range(300)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(300)
    assert min(same) < 0
    near, far = (kid(rng.normal(size=(50, 8)), rng.normal(m, 1, (50, 8))) for m in (0.5, 1))
    assert 0 < near < far


def test_fid_equals_its_definition():
    scipy = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.normal(0.5, 2, size=(60, 6)) @ rng.normal(size=(6, 6))
    one, two = np.cov(x.T), np.cov(y.T)
    root = scipy.sqrtm(one @ two).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(one + two - 2 * root)
    assert fid(x, y) == pytest.approx(expected, rel=1e-8)
    assert fid(x, x) == pytest.approx(0, abs=1e-9)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="at least two rows"):
        kid(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="at least 4"):
        measure_realism(np.zeros((3, 1, 2)), np.zeros((3, 2)), 0)


def test_halves_share_no_one():
    for one, other in halves(9, 20, seed=0):
        assert len(one) == len(other) == 4
        assert not set(one) & set(other)


def test_real_faces_lie_on_the_floor():
    rng = np.random.default_rng(1)
    real = rng.normal(size=(40, 16))
    untouched = measure_realism(real[:, None], real, seed=0, splits=10)
    assert np.array_equal(untouched.kid, untouched.floor)
    assert untouched.fid == untouched.fid_floor
    assert paired_kid(untouched.terms) == pytest.approx((0, 0), abs=1e-12)
    spoilt = measure_realism(real[:, None] + 1, real, seed=0, splits=10)
    assert (spoilt.kid > spoilt.floor).all()
    assert paired_kid(spoilt.terms)[0] > 0


def test_paired_kid_equals_its_definition():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6, 4))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 4 + 1) ** 3

    pairs = itertools.permutations(range(6), 2)
    terms = [k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]) for i, j in pairs]
    value, error = paired_kid(paired_terms(x, y))
    assert value == pytest.approx(np.mean(terms))
    without = [
        paired_kid(paired_terms(np.delete(x, i, axis=0), np.delete(y, i, axis=0)))[0]
        for i in range(6)
    ]
    assert error == pytest.approx(np.sqrt(5 / 6 * ((without - np.mean(without)) ** 2).sum()))


def test_paired_kid_finds_what_halves_cannot():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20):
        real = rng.normal(size=(40, 8))
        spoilt = real + rng.normal(0.15, 0.05, size=real.shape)
        found.append([paired_kid(paired_terms(spoilt, real))[0], kid(spoilt[:20], real[20:])])
    paired, half = np.array(found).T
    assert (paired > 0).all()
    assert paired.std() < half.std() / 3
    # Both estimate the same quantity.
    assert abs(paired.mean() - half.mean()) < 4 * half.std() / np.sqrt(20)


def test_texture_sees_blur():
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    features = texture(image, np.zeros((68, 2), np.float32))
    assert features.shape == (944,)
    assert np.mean(features**2) == pytest.approx(1, rel=1e-5)
    blurred = texture(cv2.GaussianBlur(image, (0, 0), 1), np.zeros((68, 2), np.float32))
    assert features @ blurred / 944 < 0.95
    assert np.allclose(scaled(features), features)


def test_an_unknown_or_absent_embedding_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lbp-texture"):
        open_embedding("vgg")
    with pytest.raises(FileNotFoundError, match="no model of the embedding mobilefacenet at"):
        open_embedding(f"mobilefacenet:{tmp_path / 'none.onnx'}")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(ValueError, match="ONNX"):
        open_embedding(f"mobilefacenet:{broken}")


def test_mobilefacenet_runs(shared, drawn_face):
    face = drawn_face(1)
    embed = open_embedding(f"mobilefacenet:{shared / 'data/mobilefacenet/mobilefacenet.onnx'}")
    assert embed(face.crop, face.landmarks).shape == (128,)
