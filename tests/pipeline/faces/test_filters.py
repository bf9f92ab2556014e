from dataclasses import replace

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from miex.datasets.base import FaceQuality
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.filters import judge, perceptual_hash, sharpness, template_cost
from miex.pipeline.faces.selection import Candidates, select

GOOD = FaceQuality(face_size=60, sharpness=400, yaw=2, pitch=-3, roll=1)
SQUARE = np.array([[20, 20], [108, 20], [108, 108], [20, 108]], np.float32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"face_size": 5.0}, "face_too_small"),
        ({"sharpness": 0.5}, "blurred"),
        ({"misfit": 0.9}, "bad_landmarks"),
        ({"yaw": -70.0}, "turned"),
        ({"pitch": 60.0}, "nodding"),
        ({"roll": -80.0}, "tilted"),
        ({"outside": 0.6}, "outside_image"),
        ({"yaw": float("nan")}, "turned"),
        ({"sharpness": float("nan")}, "blurred"),
    ],
)
def test_each_threshold(change, reason):
    assert judge("a:b", GOOD, FaceConfig()) is None
    rejection = judge("a:b", replace(GOOD, **change), FaceConfig())
    assert rejection.reason == reason
    assert rejection.origin == "a:b"
    assert "at most" in rejection.detail or "at least" in rejection.detail


def test_sharpness_sees_the_face_only():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 4)
    assert sharpness(noise, SQUARE) > 20 * sharpness(blurred, SQUARE)
    mixed = noise.copy()
    mixed[15:114, 15:114] = blurred[15:114, 15:114]
    assert sharpness(mixed, SQUARE) == pytest.approx(sharpness(blurred, SQUARE), rel=0.05)


def test_hash_survives_encoding_and_tells_images_apart():
    rng = np.random.default_rng(1)
    small = rng.integers(0, 255, (2, 9, 9, 3), dtype=np.uint8)
    one, other = (cv2.resize(image, (128, 128)) for image in small)

    def differ(a, b):
        bits = np.frombuffer(perceptual_hash(a), np.uint8) ^ np.frombuffer(
            perceptual_hash(b), np.uint8
        )
        return int(np.unpackbits(bits).sum())

    _, jpeg = cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert len(perceptual_hash(one)) == 32
    assert differ(one, cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) <= FaceConfig().duplicate_bits
    assert differ(one, other) > 60


@pytest.mark.parametrize(
    "change",
    [
        {"yaw": 20.0},
        {"pitch": -20.0},
        {"mouth_opening": 0.3},
        {"sharpness": 40.0},
        {"face_size": 15.0},
    ],
)
def test_every_flaw_makes_a_worse_template(change):
    assert template_cost(replace(GOOD, **change)) > template_cost(GOOD) + 0.5


def candidates(rows) -> Candidates:
    """Make candidates from rows of (identity, embedding as an angle, hash byte, cost)."""
    angles = np.array([row[1] for row in rows])
    embeddings = np.zeros((len(rows), 128), np.float32)
    embeddings[:, 0], embeddings[:, 1] = np.cos(angles), np.sin(angles)
    return Candidates(
        identities=[row[0] for row in rows],
        origins=[f"s:{index}" for index in range(len(rows))],
        embeddings=embeddings,
        hashes=np.array([[row[2]] * 32 for row in rows], np.uint8),
        costs=np.array([row[3] for row in rows], np.float64),
    )


def reasons(rejections) -> dict[str, str]:
    return {rejection.origin: rejection.reason for rejection in rejections}


def test_selection_of_each_kind():
    kept, rejections = select(
        candidates(
            [
                ("a", 0.0, 0x00, 2.0),  # better copy of 0 is 1
                ("a", 0.01, 0x00, 1.0),
                ("a", 0.5, 0xFF, 3.0),  # another photograph of a
                ("b", 1.5, 0x0F, 1.0),
                ("c", 1.6, 0xF0, 2.0),  # b under another name
                ("d", 3.0, 0x33, 9.0),
                ("e", 3.01, 0x33, 9.0),  # d again; the earlier one stays
            ]
        ),
        FaceConfig(),
    )
    assert kept == [1, 3, 5]
    assert reasons(rejections) == {
        "s:0": "duplicate",
        "s:6": "duplicate",
        "s:2": "not_the_template",
        "s:4": "same_person",
    }
    details = {rejection.origin: rejection.detail for rejection in rejections}
    assert "s:1" in details["s:0"]
    assert "s:3" in details["s:4"]


def test_more_templates_of_an_identity():
    rows = [("a", 0.0, 0x00, 3.0), ("a", 0.2, 0x0F, 1.0), ("a", 0.4, 0xFF, 2.0)]
    kept, rejections = select(candidates(rows), FaceConfig(templates_per_identity=2))
    assert kept == [1, 2]
    assert reasons(rejections) == {"s:0": "not_the_template"}


def test_same_person_does_not_chain():
    # b is near a and c, but a and c are not near each other: only b goes.
    rows = [("a", 0.0, 1, 1.0), ("b", 0.3, 2, 2.0), ("c", 0.6, 4, 3.0)]
    kept, _ = select(candidates(rows), FaceConfig())
    assert kept == [0, 2]


def test_selection_agrees_with_pairs_taken_one_by_one(monkeypatch):
    monkeypatch.setattr("miex.pipeline.faces.near._BLOCK", 7)
    rng = np.random.default_rng(3)
    rows = [
        (f"p{rng.integers(25)}", rng.uniform(0, 6.28), rng.integers(4), rng.integers(5))
        for _ in range(60)
    ]
    given = candidates(rows)
    config = FaceConfig(duplicate_bits=0)
    kept, rejections = select(given, config)

    order = sorted(range(60), key=lambda row: (rows[row][3], row))
    distance = np.linalg.norm(given.embeddings[:, None] - given.embeddings[None], axis=-1)
    unique: list[int] = []
    for row in order:
        if not any(
            distance[row, better] < config.duplicate_distance and rows[row][2] == rows[better][2]
            for better in unique
        ):
            unique.append(row)
    best: list[int] = []
    for row in unique:
        if rows[row][0] not in {rows[better][0] for better in best}:
            best.append(row)
    expected: list[int] = []
    for row in best:
        if all(distance[row, better] >= config.same_person_distance for better in expected):
            expected.append(row)
    assert kept == sorted(expected)
    assert len(kept) + len(rejections) == 60


def test_nothing_to_select():
    empty = Candidates(
        [], [], np.empty((0, 128), np.float32), np.empty((0, 32), np.uint8), np.empty(0)
    )
    assert select(empty, FaceConfig()) == ([], [])


@pytest.mark.parametrize("size", [128, 32, 512, 224])
def test_sizes(size):
    assert FaceConfig(size=size).size == size


@pytest.mark.parametrize("wrong", [{"size": 130}, {"size": 516}, {"size": 0}, {"sizes": 128}])
def test_wrong_config(wrong):
    with pytest.raises(ValidationError):
        FaceConfig(**wrong)
