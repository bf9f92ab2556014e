import dataclasses
import warnings

import cv2
import numpy as np
import pytest
import torch
from au_vectors import aus

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.face_motion import fit_pose, landmark_motion
from miex.generators._warp_field import NODES, face_outline, place_skin
from miex.generators._warp_geometry import OUTLINE_MARGIN, Aperture
from miex.generators._warp_interior import find_geometry
from miex.generators._warp_render import render_frames
from miex.generators._warp_sampling import read_spline, resize, spline_coefficients
from miex.generators.base import GeneratorConfig, create_generator


def apex(warp, face, **intensities: float) -> np.ndarray:
    return warp.render([warp.prepare(face)], aus(**intensities))[0]


def track(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Lucas-Kanade displacement of points, pixels."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after)]
    start = points.astype(np.float32).reshape(-1, 1, 2)
    window = max(9, before.shape[0] // 14) | 1
    moved, _, _ = cv2.calcOpticalFlowPyrLK(*grey, start, None, winSize=(window, window), maxLevel=1)
    return (moved - start).reshape(-1, 2)


def outline_of(face) -> np.ndarray:
    landmarks = face.landmarks.astype(np.float64)
    return face_outline(landmarks, place_skin(landmarks, fit_pose(landmarks)))


def geometry_of(face):
    landmarks = face.landmarks.astype(np.float64)
    return find_geometry(face.crop, landmarks, outline_of(face), fit_pose(landmarks).scale)


# What stays


@pytest.mark.parametrize("size", [64, 128, 256])
def test_no_aus_give_the_photograph_itself(warp, face_of, size):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    face = dataclasses.replace(face_of(size), crop=noise)
    state = warp.prepare(face)
    assert np.array_equal(warp.render([state], aus())[0], noise)
    # The frame that is computed, too, not only the one that is copied.
    computed = render_frames([state], aus())[0].permute(1, 2, 0).numpy()
    assert np.array_equal(computed, noise)


@pytest.mark.parametrize("yaw", [0.0, 25.0])
def test_nothing_moves_outside_the_face(warp, face_of, yaw):
    noise = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    face = dataclasses.replace(face_of(128, yaw=yaw), crop=noise)
    outline = outline_of(face).astype(np.float32)
    margin = OUTLINE_MARGIN * fit_pose(face.landmarks).scale + 1
    far = np.array(
        [
            [cv2.pointPolygonTest(outline, (x, y), True) < -margin for x in range(128)]
            for y in range(128)
        ]
    )
    assert 0.2 < far.mean() < 0.7
    every = np.full((1, 17), 1.5, np.float32)
    frame = warp.render([warp.prepare(face)], every)[0]
    assert np.array_equal(frame[far], noise[far])
    assert (frame[~far] != noise[~far]).any(axis=-1).mean() > 0.5


def test_eyeballs_do_not_move_with_the_lids(warp, face_of):
    face = face_of(128)
    frame = apex(warp, face, AU45=1.5, AU07=1.5)
    irises = np.stack([face.landmarks[36:42].mean(axis=0), face.landmarks[42:48].mean(axis=0)])
    columns, rows = np.round(irises).astype(int).T
    assert np.abs(frame[rows, columns].astype(int) - face.crop[rows, columns]).max() <= 3


def test_brows_do_not_move_the_mouth(warp, face_of):
    face = face_of(128)
    frame = apex(warp, face, AU01=1.5, AU02=1.5, AU04=1.5)
    assert np.abs(frame[90:].astype(int) - face.crop[90:]).max() <= 2


# What moves


@pytest.mark.parametrize(
    ("au", "landmarks", "direction"),
    [
        ("AU01", [20, 21, 22, 23], (0, -1)),
        ("AU02", [18, 25], (0, -1)),
        ("AU04", [19, 20, 23, 24], (0, 1)),
        ("AU12", [54], (1, -1)),
        ("AU12", [48], (-1, -1)),
        ("AU15", [48, 54], (0, 1)),
        ("AU17", [57], (0, -1)),
        ("AU20", [54], (1, 0)),
        ("AU20", [48], (-1, 0)),
        ("AU26", [57, 8], (0, 1)),
        ("AU45", [37, 38, 43, 44], (0, 1)),
    ],
)
def test_pixels_go_where_the_landmarks_go(warp, face_of, au, landmarks, direction):
    face = face_of(256)
    moved = track(face.crop, apex(warp, face, **{au: 1.5}), face.landmarks[landmarks])
    for axis in (0, 1):
        if direction[axis]:
            assert (direction[axis] * moved[:, axis] > 0.4).all(), moved


@pytest.mark.parametrize("au", ["AU01", "AU02", "AU04", "AU12", "AU20", "AU26"])
@pytest.mark.parametrize("yaw", [0.0, 20.0])
def test_pixels_go_as_far_as_the_landmarks_go(warp, face_of, au, yaw):
    face = face_of(256, yaw=yaw)
    # Spots in every direction: along a drawn brow no flow can tell how far it went.
    noise = np.random.default_rng(0).normal(0, 1, (256, 256)).astype(np.float32)
    spots = np.clip(128 + 250 * cv2.GaussianBlur(noise, (0, 0), 2.5), 0, 255).astype(np.uint8)
    face = dataclasses.replace(face, crop=np.repeat(spots[..., None], 3, axis=2))
    motion = landmark_motion(face.landmarks)[AU_NAMES.index(au)] * 1.5 / 5
    points = [18, 20, 23, 25, 48, 54, 57]
    moved = track(face.crop, apex(warp, face, **{au: 1.5}), face.landmarks[points])
    assert np.abs(moved - motion[points]).max() < 0.15 * np.abs(motion).max() + 0.5


def test_motion_grows_with_intensity(warp, face_of):
    face = face_of(256)
    state = warp.prepare(face)
    corner = [
        track(face.crop, warp.render([state], aus(AU12=value))[0], face.landmarks[[54]])[0]
        for value in (0.5, 1.0, 1.5)
    ]
    lengths = np.linalg.norm(corner, axis=1)
    assert lengths == pytest.approx(lengths[1] * np.array([0.5, 1.0, 1.5]), rel=0.2)


def test_texture_stays_sharp(warp, face_of):
    face = face_of(128)
    frame = apex(warp, face, AU06=1.5, AU12=1.5)
    cheek = np.s_[60:84, 28:100]
    before, after = (
        cv2.Laplacian(image[cheek].astype(np.float32), cv2.CV_32F).var()
        for image in (face.crop, frame)
    )
    assert after > 0.85 * before


# The mouth


def test_a_closed_mouth_opens_on_a_dark_inside(warp, face_of):
    face = face_of(128)
    geometry = geometry_of(face)
    assert geometry.closed == 1.0
    frame = apex(warp, face, AU25=1.5, AU26=1.5)
    column = slice(62, 67)
    rows = slice(int(face.landmarks[51, 1]) - 2, int(face.landmarks[8, 1]))
    before, after = (
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[rows, column].astype(int).mean(axis=1)
        for image in (face.crop, frame)
    )
    lips = cv2.cvtColor(np.uint8([[(170, 75, 80)]]), cv2.COLOR_RGB2GRAY)[0, 0]
    assert (after < 0.6 * lips).sum() >= 2
    assert after.min() < before.min()
    # The lips part; neither is smeared across the gap, and the dark appears once.
    lip_rows = lambda line: (np.abs(line - int(lips)) < 15).sum()  # noqa: E731
    assert abs(lip_rows(after) - lip_rows(before)) <= 2
    dark = np.flatnonzero(after < 0.6 * lips)
    assert dark[-1] - dark[0] == len(dark) - 1


def test_lips_that_press_on_each_other_show_no_gap(warp, face_of):
    face = face_of(128)
    frame = apex(warp, face, AU17=1.5, AU23=1.5)
    row = int(face.landmarks[62, 1])
    patch = np.s_[row - 4 : row + 5, 58:71]
    assert frame[patch].min() > 0.7 * face.crop[patch].min()


def test_the_line_between_the_lips_is_found_beside_the_landmarks(face_of):
    face = face_of(128)
    shifted = face.landmarks.copy()
    shifted[60:68, 1] += 1.5
    mouth = geometry_of(dataclasses.replace(face, landmarks=shifted)).mouth
    upper, lower = mouth.heights(np.array([0.5]))
    assert upper == pytest.approx(lower)
    found = mouth.corner[1] + upper[0]
    assert found == pytest.approx(face.landmarks[62, 1], abs=0.6)


def test_an_open_mouth_is_stretched_not_filled(face_of):
    face = face_of(128)
    opened = face.landmarks.copy()
    opened[[65, 66, 67, 55, 56, 57, 58, 59], 1] += 8
    assert geometry_of(dataclasses.replace(face, landmarks=opened)).closed == 0.0


def test_curves_do_not_swing_out_where_points_crowd():
    left, right = np.array([0.0, 0.0]), np.array([20.0, 0.0])
    upper = np.array([[1.0, -2.0], [2.0, -3.0], [4.0, -3.0]])
    heights = Aperture.fit(left, right, upper, -upper).heights(np.linspace(0, 1, 50))
    assert np.abs(heights[0]).max() < 6


# Sampling


def splines(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values at points ``(P, 2)``, ``(channels, P)``."""
    coefficients = torch.from_numpy(spline_coefficients(image))[None]
    which = torch.zeros(len(points), dtype=torch.int64)
    return read_spline(coefficients, which, torch.from_numpy(points.astype(np.float32))).numpy()


def test_splines_return_the_image_at_its_pixels():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels = np.stack(np.meshgrid(np.arange(64), np.arange(64)), -1).reshape(-1, 2)
    expected = image.transpose(2, 0, 1).reshape(3, -1).astype(float)
    assert splines(image, pixels) == pytest.approx(expected, abs=1e-2)


def test_splines_agree_with_scipy_between_the_pixels():
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 1), dtype=np.uint8)
    points = rng.uniform(3, 60, (72, 2)).astype(np.float32)
    expected = ndimage.map_coordinates(
        image[..., 0].astype(float), points.T[::-1], order=3, mode="mirror"
    )
    assert splines(image, points)[0] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("size", [64, 100, 128])
def test_fields_are_resized_as_by_torch(size):
    planes = torch.randn(2, 3, NODES, NODES, generator=torch.Generator().manual_seed(0))
    theirs = torch.nn.functional.interpolate(planes, (size, size), mode="bicubic", antialias=True)
    torch.testing.assert_close(resize(planes, size), theirs, atol=1e-4, rtol=0)


# Reproducibility


def test_neither_batch_size_nor_threads_change_a_bit(face_of):
    rng = np.random.default_rng(3)
    vectors = (rng.random((7, 17)) * 1.5 * (rng.random((7, 17)) < 0.3)).astype(np.float32)
    threads = torch.get_num_threads(), cv2.getNumThreads()
    frames, bases = [], []
    try:
        for count, batch_size in ((1, 1), (2, 3), (4, 32)):
            torch.set_num_threads(count)
            cv2.setNumThreads(count)
            config = GeneratorConfig(name="warp", device="cpu", batch_size=batch_size)
            warp = create_generator(config)
            states = [warp.prepare(face_of(128, seed)) for seed in range(7)]
            frames.append(warp.render(states, vectors))
            chunked = [render_frames(states, vectors).permute(0, 2, 3, 1).numpy()]
            frames.extend(chunked)
            bases.append(torch.stack([state.basis for state in states]))
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    for other in frames[1:]:
        assert np.array_equal(frames[0], other)
    for basis in bases[1:]:
        assert torch.equal(bases[0], basis)


def test_preparing_twice_gives_the_same_state(warp, face_of):
    first, second = warp.prepare(face_of(128)), warp.prepare(face_of(128))
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(second, field.name)), field.name
    assert first.basis.shape == (17, 2, 2, NODES, NODES)


@pytest.mark.gpu
def test_a_gpu_renders_nearly_the_same_and_the_same_in_every_batch(face_of):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cpu, gpu = (create_generator(GeneratorConfig(name="warp", device=d)) for d in ("cpu", "cuda"))
    vectors = np.tile(aus(AU06=1.0, AU12=1.5, AU25=1.0), (5, 1))
    faces = [face_of(128, seed) for seed in range(5)]
    states = [gpu.prepare(face) for face in faces]
    frames = gpu.render(states, vectors)
    near = cpu.render([cpu.prepare(face) for face in faces], vectors)
    assert np.abs(frames.astype(int) - near).max() <= 2
    for row in range(5):
        assert np.array_equal(gpu.render(states[row : row + 1], vectors[:1])[0], frames[row])


# Bad input


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        (np.zeros((128, 128), np.uint8), r"expected uint8 \(S, S, 3\)"),
        (np.zeros((128, 124, 3), np.uint8), "square"),
        (np.zeros((128, 128, 3), np.float32), "float32"),
        (np.zeros((130, 130, 3), np.uint8), "multiple of 4"),
        (np.zeros((32, 32, 3), np.uint8), "from 64 to 512"),
        (np.zeros((516, 516, 3), np.uint8), "from 64 to 512"),
    ],
)
def test_bad_crops_are_refused(warp, face_of, crop, message):
    with pytest.raises(ValueError, match=message) as error:
        warp.prepare(dataclasses.replace(face_of(128), crop=crop))
    assert "drawn:0" in str(error.value)


def test_bad_landmarks_are_refused(warp, face_of):
    face = dataclasses.replace(face_of(128), landmarks=np.full((68, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="drawn:0: landmarks"):
        warp.prepare(face)


def test_faces_of_several_sizes_are_refused(warp, face_of):
    states = [warp.prepare(face_of(size)) for size in (64, 128)]
    with pytest.raises(ValueError, match=r"sizes \[64, 128\]"):
        warp.render(states, np.zeros((2, 17), np.float32))


def test_intensities_out_of_range_name_the_au(warp, face_of):
    state = warp.prepare(face_of(64))
    for value in (-5.1, 5.1, np.nan):
        with pytest.raises(ValueError, match=r"row 0 of aus has AU12 = .*a change of -5 to 5"):
            warp.render([state], aus(AU12=value))


def test_high_intensities_warn_once_and_render(face_of):
    warp = create_generator(GeneratorConfig(name="warp", device="cpu"))
    state = warp.prepare(face_of(64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warp.render([state], aus(AU12=2.0))
    with pytest.warns(UserWarning, match="intensity 4 is above 2"):
        frame = warp.render([state], aus(AU12=4.0))
    assert not np.array_equal(frame[0], face_of(64).crop)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warp.render([state], aus(AU12=4.0))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"checkpoint": "weights.safetensors"}, "no weights"),
        ({"precision": "bf16"}, "no network"),
        ({"compile": True}, "no network"),
        ({"device": "cpux"}, "device"),
    ],
)
def test_options_it_does_not_have_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        create_generator(GeneratorConfig(name="warp", **option))
