import numpy as np
import pytest

from miex.au_sources.calibration import AUMap, Calibration
from miex.generators.base import GeneratorConfig
from miex.generators.ganimation.checkpoint import save_checkpoint
from miex.generators.ganimation.network import random_network
from miex.pipeline.assessment.agreement import judge, shipped_tables
from miex.pipeline.aus.estimators import labellers, refuse_training_estimators
from miex.pipeline.aus.fidelity import AUReader, correlation, sample_fidelity


def test_correlation_is_pearsons():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlation(a, np.ones(30)) is None
    assert correlation([1.0], [2.0]) is None


def test_a_sample_is_held_against_what_was_measured_of_it():
    asked = np.zeros(17)
    asked[[4, 8]] = 1.0, 1.5
    assert sample_fidelity(asked, 0.3 * asked) == pytest.approx(1)
    assert sample_fidelity(asked, -asked) == pytest.approx(-1)
    assert sample_fidelity(asked, np.zeros(17)) is None
    unseen = asked.copy()
    unseen[[4, 8]] = np.nan
    assert sample_fidelity(asked, unseen) is None
    assert sample_fidelity(asked, np.full(17, np.nan)) is None
    few = np.full(17, np.nan)
    few[[4, 8]] = 1, 2
    assert sample_fidelity(asked, few) is None


class Recorder:
    """Finds the face once and says where it looked."""

    def __init__(self) -> None:
        self.searched = 0
        self.boxes = []

    def find(self, image):
        self.searched += 1
        return [(0.0, 0.0, 10.0, 10.0), (10.0, 20.0, 110.0, 120.0)]

    def landmarks(self, image, box):
        self.boxes.append((image.shape[0], box))
        return np.full((68, 2), 1.5 + 4 * 30, np.float32)


def test_every_frame_is_looked_at_in_the_same_place(drawn_face, fake_estimator):
    seen = []

    class NeedsLandmarks(type(fake_estimator)):
        needs_landmarks = True

        def estimate(self, images, landmarks=None):
            seen.append(landmarks)
            return super().estimate(images)

    detector = Recorder()
    face = drawn_face(1)
    change = AUReader(NeedsLandmarks(), detector).change(face, face.crop, face.crop)
    assert detector.searched == 1
    assert detector.boxes == [(512, (40.0, 80.0, 440.0, 480.0))] * 2
    assert np.allclose(seen[0], 30)
    assert np.nansum(np.abs(change)) == 0


def test_shipped_tables_tell_on_which_aus_estimators_agree():
    rows = {row.au: row for row in judge("openface-models", (1, 12, 20, 25), shipped_tables())}
    assert len(rows) == 17
    assert rows["AU12"].agrees
    assert rows["AU12"].correlation > 0.85
    assert rows["AU25"].against == "landmarks"
    assert not rows["AU20"].agrees
    assert not rows["AU45"].measured
    assert not rows["AU45"].agrees


def test_without_a_table_every_measured_au_counts():
    rows = judge("somebody", (1, 12), shipped_tables())
    assert [row.au for row in rows if row.agrees] == ["AU01", "AU12"]
    assert {row.correlation for row in rows} == {None}


def test_the_best_second_estimator_counts():
    def table(name: str, value: float) -> Calibration:
        one = AUMap(((0.0, 0.0), (1.0, 1.0)), 0.0, 1.0, 200, value, 0.1, 0.1)
        return Calibration(name, "1", "ours", "1", "faces", 200, {"AU12": one}, {})

    rows = judge("ours", (12,), [table("weak", 0.2), table("strong", 0.5)])
    assert [(row.against, row.agrees) for row in rows if row.au == "AU12"] == [("strong", True)]


def test_the_labeller_of_the_training_data_may_not_judge():
    with pytest.raises(ValueError, match="labelled the training data"):
        refuse_training_estimators(["openface-models"], ["openface-models"], False)
    assert refuse_training_estimators(["landmarks"], ["openface-models"], False) == []
    assert refuse_training_estimators(["landmarks"], ["landmarks"], True) == ["landmarks"]


def test_a_checkpoint_s_card_names_the_labeller(tmp_path):
    path = tmp_path / "weights.safetensors"
    card = {"data": '{"estimator": "openface-models OpenFace static 1", "source": "x"}'}
    save_checkpoint(random_network(0), path, card=card)
    config = GeneratorConfig(name="ganimation", checkpoint=path)
    assert labellers(config) == ["openface-models"]
    assert labellers(GeneratorConfig(name="warp")) == []
