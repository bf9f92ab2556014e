import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from miex.pipeline.recognition.metrics import bootstrap, chance, confusion, scores


@pytest.mark.parametrize("classes", [2, 3, 5, 7])
@pytest.mark.parametrize("present", ["all", "one absent from truth", "one never predicted"])
def test_equal_to_scikit_learn(classes: int, present: str) -> None:
    rng = np.random.default_rng(classes)
    truth, guess = rng.integers(0, classes, (2, 200))
    if present == "one absent from truth":
        truth[truth == classes - 1] = 0
    if present == "one never predicted":
        guess[guess == 0] = 1
    counts = confusion(truth, guess, classes)
    np.testing.assert_array_equal(counts, confusion_matrix(truth, guess, labels=range(classes)))
    found = scores(counts)
    options = {"labels": range(classes), "zero_division": 0}
    assert found.uf1 == pytest.approx(f1_score(truth, guess, average="macro", **options))
    assert found.uar == pytest.approx(recall_score(truth, guess, average="macro", **options))
    assert found.weighted_f1 == pytest.approx(f1_score(truth, guess, average="weighted", **options))
    assert found.accuracy == pytest.approx(accuracy_score(truth, guess))
    np.testing.assert_allclose(found.f1, f1_score(truth, guess, average=None, **options))


def test_by_hand() -> None:
    # 4 negative (3 right, 1 called positive), 2 positive (1 right, 1 called negative), 1 surprise
    # called positive: F1 = 6/8, 2/5, 0/1.
    found = scores(confusion([0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 0, 1], 3))
    assert found.f1 == pytest.approx((6 / 8, 2 / 5, 0))
    assert found.uf1 == pytest.approx((6 / 8 + 2 / 5) / 3)
    assert found.uar == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    assert found.accuracy == pytest.approx(4 / 7)
    assert found.clips == (4, 2, 1)


def test_an_absent_class_counts_with_zero_and_is_named() -> None:
    found = scores(confusion([0, 0, 1], [0, 0, 1], 3))
    assert found.uf1 == pytest.approx(2 / 3)
    assert found.uar == pytest.approx(2 / 3)
    assert found.absent == (2,)


def test_pooled_is_not_the_mean_of_folds() -> None:
    folds = [confusion([0, 0, 1], [0, 0, 0], 3), confusion([2, 1], [2, 1], 3)]
    pooled = scores(sum(folds[1:], folds[0])).uf1
    mean = np.mean([scores(fold).uf1 for fold in folds])
    assert pooled == pytest.approx((4 / 5 + 2 / 3 + 1) / 3)
    assert abs(pooled - mean) > 0.3


@pytest.mark.parametrize(
    ("truth", "guess", "message"),
    [
        ([0, 1], [0], r"labels \(2,\) and predictions \(1,\)"),
        ([0, 3], [0, 0], "a label is 3, expected 0 to 2"),
        ([0, 1], [0, -1], "a prediction is -1, expected 0 to 2"),
    ],
)
def test_wrong_input(truth: list[int], guess: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion(truth, guess, 3)
    with pytest.raises(ValueError, match="nothing to score"):
        scores(confusion([], [], 3))


def test_the_bootstrap_draws_whole_subjects() -> None:
    # Every clip of a subject is right or every one is wrong: the spread is that of 10 coins, not
    # that of 400.
    right, wrong = np.eye(2, dtype=np.int64) * 20, np.eye(2, dtype=np.int64)[::-1] * 20
    interval = bootstrap([right] * 5 + [wrong] * 5)["accuracy"]
    assert interval.low == pytest.approx(0.2, abs=0.05)
    assert interval.high == pytest.approx(0.8, abs=0.05)
    assert bootstrap([right] * 5 + [wrong] * 5)["accuracy"] == interval
    assert bootstrap([right] * 4)["uf1"].low == 1


def test_chance() -> None:
    found = chance([250, 109, 83])
    assert found.uar == pytest.approx(1 / 3, abs=0.005)
    assert found.accuracy == pytest.approx(1 / 3, abs=0.005)
    assert found.uf1 < found.uar
