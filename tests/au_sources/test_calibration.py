import json

import numpy as np
import pytest

from miex.au_sources.action_units import AU_NAMES, AU_NUMBERS
from miex.au_sources.calibrated_estimator import (
    CalibratedEstimator,
    CalibrationFace,
    create_calibrated_estimator,
    fit_calibration,
)
from miex.au_sources.calibration import Calibration, isotonic, shipped_calibration
from miex.au_sources.estimators.base import Estimates, estimate_video
from miex.au_sources.estimators.landmarks import LandmarkEstimator

AU02, AU04, AU06, AU12, AU25 = (AU_NAMES.index(f"AU{n:02d}") for n in (2, 4, 6, 12, 25))
NAMES = {"estimator": ("e", "lib 1, abc"), "reference_name": ("r", "2"), "data": "made"}


def planted(count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """AU12 by a curve, AU02 with noise, AU04 without relation, AU06 unseen, AU25 constant."""
    rng = np.random.default_rng(0)
    x = np.full((count, 17), np.nan)
    y = rng.uniform(0, 5, (count, 17))
    for au in (AU02, AU04, AU12):
        x[:, au] = rng.uniform(0, 4, count)
    y[:, AU12] = x[:, AU12] ** 2 / 4
    y[:, AU02] = np.clip(0.5 * x[:, AU02] + rng.normal(0, 0.3, count), 0, 5)
    x[:, AU25] = 1
    return x, y


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return Calibration.fit(*planted(), np.arange(600), **NAMES)


def test_a_planted_monotone_relation_is_recovered(calibration):
    inputs = np.full((30, 17), np.nan)
    inputs[:, AU12] = np.linspace(0.3, 3.8, 30)
    mapped = calibration.apply(inputs)
    np.testing.assert_allclose(mapped[:, AU12], inputs[:, AU12] ** 2 / 4, atol=0.08)
    assert calibration.maps["AU12"].correlation > 0.995
    assert calibration.maps["AU12"].mae < 0.08
    noisy = calibration.maps["AU02"]
    assert 0.82 < noisy.correlation < 0.92  # sd of 0.58 under noise of 0.3: r = .89
    assert noisy.r2 == pytest.approx(noisy.correlation**2, abs=0.02)
    assert not noisy.weak


def test_no_relation_is_weak_flat_and_can_be_dropped(calibration):
    one = calibration.maps["AU04"]
    assert one.weak
    assert abs(one.correlation) < 0.2
    assert one.r2 < 0.02
    assert np.ptp([y for _, y in one.knots]) < 1
    assert calibration.weak == (4,)
    strong = calibration.without_weak()
    assert strong.aus == (2, 12)
    assert "weak: correlation" in strong.left_out["AU04"]
    assert np.isnan(strong.apply(np.ones(17))[AU04])


def test_nothing_is_invented(calibration):
    assert calibration.aus == (2, 4, 12)
    assert calibration.left_out["AU06"] == "not measured by the estimator"
    assert calibration.left_out["AU25"] == "the estimate is always 1"
    mapped = calibration.apply(np.ones((2, 17)))
    assert np.isnan(mapped[:, [AU06, AU25]]).all()
    assert np.isnan(calibration.apply(np.full(17, np.nan))).all()


def test_estimates_outside_the_range_are_clamped_and_counted(calibration):
    aus = np.full((3, 17), np.nan)
    aus[:, AU12] = [1, 4.5, 5]
    top = calibration.maps["AU12"].knots[-1][1]
    np.testing.assert_allclose(calibration.apply(aus)[1:, AU12], top, rtol=1e-6)
    assert calibration.outside(aus)[AU12] == 2
    assert calibration.outside(aus).sum() == 2


def test_folds_never_split_a_group():
    """Labels that are constant in each person and unrelated to the estimate."""
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(40), 20)
    x, y = np.full((800, 17), np.nan), np.full((800, 17), np.nan)
    x[:, AU12] = np.repeat(rng.permutation(40) / 8, 20) + rng.uniform(0, 0.01, 800)
    y[:, AU12] = np.repeat(rng.uniform(0, 5, 40), 20)
    honest = Calibration.fit(x, y, people, **NAMES).maps["AU12"]
    leaking = Calibration.fit(x, y, np.arange(800), **NAMES).maps["AU12"]
    assert honest.correlation < leaking.correlation
    assert honest.r2 < 0.05
    shuffled = Calibration.fit(x, y, [f"p{person}" for person in people], **NAMES).maps["AU12"]
    assert shuffled.knots == honest.knots


def test_few_pairs_still_use_all_of_them():
    x, y = planted(120)
    found = Calibration.fit(x, y, np.arange(120), **NAMES).maps["AU12"]
    assert len(found.knots) >= 5
    assert found.correlation > 0.97
    assert found.pairs == 120


def test_round_trip(calibration, tmp_path):
    file = tmp_path / "new" / "map.json"
    calibration.write(file)
    assert Calibration.read(file) == calibration
    document = json.loads(file.read_text("utf-8"))
    assert document["estimator_version"] == "lib 1, abc"
    assert document["maps"]["AU12"]["pairs"] == 600


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(format="other"), "expected the format"),
        (lambda d: d.pop("maps"), "maps"),
        (lambda d: d["maps"].update(AU99=d["maps"]["AU12"]), "unknown AUs AU99"),
        (lambda d: d["maps"]["AU12"].update(knots=[[1, 2], [0.5, 3]]), "do not increase"),
        (lambda d: d["maps"]["AU12"].update(knots=[[1, 2], [2, 1]]), "do not increase"),
        (lambda d: d["maps"]["AU12"].update(knots=[[1, 2], [2, 9]]), "outside 0 to 5"),
        (lambda d: d["maps"]["AU12"].update(knots=[]), "expected pairs"),
        (lambda d: d.update(surprise=1), "surprise"),
    ],
)
def test_a_damaged_file_is_named(calibration, tmp_path, edit, message):
    file = tmp_path / "map.json"
    calibration.write(file)
    document = json.loads(file.read_text("utf-8"))
    edit(document)
    file.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message) as raised:
        Calibration.read(file)
    assert str(file) in str(raised.value)


def test_other_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no calibration at .*x\.json"):
        Calibration.read(tmp_path / "x.json")
    for content in ("[]", "\x00", " "):
        (tmp_path / "y.json").write_text(content)
        with pytest.raises(ValueError, match="no calibration of miex"):
            Calibration.read(tmp_path / "y.json")


def test_bad_pairs():
    x, y = planted(120)
    with pytest.raises(ValueError, match="5 identities cannot be cross-validated in 10 folds"):
        Calibration.fit(x, y, np.arange(120) % 5, **NAMES)
    with pytest.raises(ValueError, match=r"reference \(119, 17\)"):
        Calibration.fit(x, y[1:], np.arange(120), **NAMES)
    with pytest.raises(ValueError, match=r"60 pairs, at least 100 are needed \(AU02, AU04, "):
        Calibration.fit(x[:60], y[:60], np.arange(60), **NAMES)
    x[3, AU12] = 7
    with pytest.raises(ValueError, match=r"estimates: AU12 of row 3 is 7"):
        Calibration.fit(x, y, np.arange(120), **NAMES)


def test_isotonic_is_the_nearest_monotone_sequence():
    np.testing.assert_allclose(isotonic([1, 3, 2, 4], [1, 1, 3, 1]), [1, 2.25, 2.25, 4])
    np.testing.assert_allclose(isotonic([3, 2, 1], [1, 1, 1]), [2, 2, 2])
    np.testing.assert_allclose(isotonic([1, 2, 3], [1, 1, 1]), [1, 2, 3])


@pytest.mark.parametrize("name", ["mediapipe", "landmarks"])
def test_shipped_maps(name):
    found = shipped_calibration(name)
    assert found is not None
    assert found.estimator == name
    assert found.reference == "openface-models"
    assert found.maps["AU12"].correlation > 0.88
    assert found.groups == 2000
    assert {*found.maps, *found.left_out} == set(AU_NAMES)
    for one in found.maps.values():
        assert one.pairs == 2000
        assert 0 <= one.knots[0][1] <= one.knots[-1][1] <= 5
    assert shipped_calibration("pyfeat") is None


class Brightness:
    """AU12 grows with the brightness of a pixel, AU02 is noise of it; black has no face."""

    name, aus, needs_landmarks = "brightness", (2, 12), False

    def __init__(self, power: float, scale: str, version: str = "1, m") -> None:
        self.power, self.scale, self.version = power, scale, version

    def estimate(self, images, landmarks=None):
        light = np.array([image[0, 0, 0] / 255 for image in images])
        aus = np.full((len(images), 17), np.nan, np.float32)
        aus[:, AU12] = 5 * light**self.power
        aus[:, AU02] = [image[0, 0, 1] / 51 for image in images]
        aus[light == 0] = np.nan
        return Estimates(aus, light > 0, light.astype(np.float32))


def faces(count: int):
    rng = np.random.default_rng(2)
    nowhere = np.full((68, 2), np.nan, np.float32)
    for number in range(count):
        pixels = rng.integers(0, 256, (1, 1, 3), np.uint8)
        yield CalibrationFace(pixels, nowhere, number // 2)


def test_fit_calibration_from_images_and_use_it():
    steps: list[int] = []
    score, truth = Brightness(1, "probability"), Brightness(2, "intensity")
    found = fit_calibration(score, truth, faces(300), "made", on_progress=steps.append)
    assert steps[-1] == 300
    assert len(steps) == 19
    assert found.groups == 150
    calibrated = CalibratedEstimator(score, found)
    assert (calibrated.name, calibrated.scale, calibrated.aus) == (
        "brightness",
        "intensity",
        (2, 12),
    )
    assert calibrated.version.startswith("1, m, calibrated to brightness with ")
    images = [np.full((1, 1, 3), light, np.uint8) for light in (0, 51, 128, 204)]
    result = calibrated.estimate(images)
    assert result.valid.tolist() == [False, True, True, True]
    expected = truth.estimate(images).aus[1:, AU12]
    np.testing.assert_allclose(result.aus[1:, AU12], expected, atol=0.15)
    assert np.isnan(result.aus[0]).all()
    np.testing.assert_allclose(result.confidence, [0, 0.2, 0.502, 0.8], atol=0.01)
    video = estimate_video(calibrated, iter(images), batch_size=3)
    np.testing.assert_array_equal(video.aus, result.aus)


def test_fit_calibration_refuses():
    score = Brightness(1, "probability")
    with pytest.raises(ValueError, match="brightness measures probability; the reference"):
        fit_calibration(score, score, faces(10), "made")
    with pytest.raises(ValueError, match="0 identities"):
        fit_calibration(score, Brightness(1, "intensity"), [], "made")


def test_a_calibration_belongs_to_one_model(calibration):
    one = Brightness(1, "probability", "lib 2, abc")
    one.name = "e"
    assert CalibratedEstimator(one, calibration).aus == (2, 12)
    one.version = "lib 1, other"
    with pytest.raises(ValueError, match=r"fitted to e \(lib 1, abc\), not to e \(lib 1, other\)"):
        CalibratedEstimator(one, calibration)


def test_clamped_estimates_are_counted(calibration):
    one = Brightness(1, "probability", "lib 2, abc")
    one.name = "e"
    calibrated = CalibratedEstimator(one, calibration)
    for _ in range(2):
        calibrated.estimate([np.full((1, 1, 3), 255, np.uint8)])
    assert calibrated.outside[AU12] == 2


def test_create_calibrated_estimator(calibration, tmp_path):
    shipped = create_calibrated_estimator("landmarks")
    assert isinstance(shipped, CalibratedEstimator)
    assert shipped.scale == "intensity"
    assert set(shipped.aus) == set(AU_NUMBERS) - {5, 14, 20}
    strong = create_calibrated_estimator("landmarks", drop_weak=True)
    assert set(shipped.aus) - set(strong.aus) == {7, 9, 15, 17, 26}
    assert isinstance(create_calibrated_estimator("landmarks", "none"), LandmarkEstimator)
    personal = create_calibrated_estimator("landmarks", person_calibration=True)
    assert personal.scale == "uncalibrated"
    calibration.write(tmp_path / "map.json")
    with pytest.raises(ValueError, match="not to landmarks"):
        create_calibrated_estimator("landmarks", str(tmp_path / "map.json"))
    with pytest.raises(FileNotFoundError, match="calibration"):
        create_calibrated_estimator("landmarks", tmp_path / "absent.json")
