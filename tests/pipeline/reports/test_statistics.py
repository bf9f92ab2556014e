"""Statistics against slow, independent computations, with values missing."""

import math
from collections import Counter

import cv2
import numpy as np
import pytest
from scipy import stats

from miex.au_sources.action_units import AU_COUNT
from miex.datasets.dataset_format import DatasetFolder
from miex.pipeline.reports.effects import measure_effect
from miex.pipeline.reports.pixels import correlation, inspect_pixels, ssim
from miex.pipeline.reports.samples import Samples, join, open_target, read_dataset
from miex.pipeline.reports.statistics import (
    ACTIVE_FROM,
    ALL,
    cover,
    describe_groups,
    histogram,
    principal_axes,
    summarise,
)


def drawn_samples(count: int = 300, seed: int = 0, name: str = "drawn") -> Samples:
    """AUs at random, a tenth of them not measured, one AU never."""
    rng = np.random.default_rng(seed)
    onset = rng.uniform(0, 0.4, (count, AU_COUNT)).astype(np.float32)
    apex = onset + rng.uniform(-0.2, 1.2, (count, AU_COUNT)).astype(np.float32)
    apex[rng.random(apex.shape) < 0.1] = np.nan
    apex[:, 14] = np.nan
    emotion = rng.choice(["negative", "positive"], count).tolist()
    return Samples(
        name=name,
        onset=onset,
        apex=np.clip(apex, 0, 5),
        sample_id=[f"{name}-{row}" for row in range(count)],
        source=rng.choice(["a", "b"], count).tolist(),
        emotion=emotion,
        fine=[None] * count,
        classes=("negative", "positive", "surprise"),
        label=np.full(count, -1),
        identity=[""] * count,
        template=[""] * count,
        attempt=np.zeros(count, np.int64),
    )


def test_summaries_leave_missing_values_out_and_count_them():
    values = [3.0, math.nan, 1.0, 2.0, math.nan, 10.0]
    found = summarise(values)
    assert (found.count, found.missing) == (4, 2)
    assert found.mean == 4.0
    assert found.deviation == pytest.approx(math.sqrt((1 + 9 + 4 + 36) / 4))
    assert (found.low, found.high, found.median) == (1, 10, 2.5)
    empty = summarise([math.nan])
    assert (empty.count, empty.missing) == (0, 1)
    assert math.isnan(empty.mean)
    assert math.isnan(empty.median)


def test_groups_equal_a_count_by_hand():
    samples = drawn_samples()
    groups = describe_groups(samples)
    assert next(iter(groups)) == (ALL, ALL)
    assert len(groups) == 1 + 2 + 2 + 4
    for (source, emotion), group in groups.items():
        rows = [
            row
            for row in range(len(samples))
            if source in (ALL, samples.source[row]) and emotion in (ALL, samples.emotion[row])
        ]
        assert group.samples == len(rows)
        sizes, together = Counter(), Counter()
        for au in range(AU_COUNT):
            rises, strong = [], []
            for row in rows:
                rise = samples.apex[row, au] - samples.onset[row, au]
                if not math.isnan(rise):
                    rises.append(float(rise))
                    if rise >= ACTIVE_FROM:
                        strong.append(float(samples.apex[row, au]))
            assert group.measured[au] == len(rises)
            assert group.active[au] == len(strong)
            if rises:
                assert group.share[au] == pytest.approx(len(strong) / len(rises))
                assert group.rise[au].mean == pytest.approx(math.fsum(rises) / len(rises))
                assert group.rise[au].missing == len(rows) - len(rises)
            else:
                assert math.isnan(group.share[au])
            assert group.intensity[au].count == len(strong)
            if strong:
                assert group.intensity[au].median == pytest.approx(sorted_median(strong))
        for row in rows:
            on = [
                au
                for au in range(AU_COUNT)
                if samples.apex[row, au] - samples.onset[row, au] >= ACTIVE_FROM
            ]
            sizes[len(on)] += 1
            together.update((a, b) for a in on for b in on)
        assert {n: c for n, c in enumerate(group.cardinality.tolist()) if c} == dict(sizes)
        assert all(group.together[pair] == count for pair, count in together.items())
        assert group.together.sum() == sum(together.values())
        assert group.mean_active == pytest.approx(
            sum(size * count for size, count in sizes.items()) / len(rows)
        )


def sorted_median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def test_coverage_counts_sets_and_repetitions():
    samples = drawn_samples(50)
    twice = join([samples, samples])
    found = cover(twice)
    assert found.duplicates == 50
    assert found.most_repeated == 2
    patterns = Counter(tuple(row) for row in (np.nan_to_num(twice.rises) >= ACTIVE_FROM).tolist())
    assert found.combinations == len(patterns)
    entropy = -sum(n / 100 * math.log(n / 100) for n in patterns.values())
    assert found.effective == pytest.approx(math.exp(entropy))
    assert found.most_frequent[0][1] == max(patterns.values())
    few = cover(twice, most=10)
    assert few.points.shape == (10, 2)
    np.testing.assert_array_equal(few.shown, cover(twice, most=10).shown)


def test_principal_axes_equal_the_singular_vectors():
    rises = np.random.default_rng(1).normal(size=(80, AU_COUNT)) * np.linspace(0.2, 2, AU_COUNT)
    axes, explained = principal_axes(rises.astype(np.float32))
    centred = rises - rises.mean(axis=0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    for number in range(2):
        assert abs(float(axes[number] @ directions[number])) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(explained, (values[:2] ** 2) / (values**2).sum(), rtol=1e-4)
    axes, explained = principal_axes(rises[:1].astype(np.float32))
    assert not axes.any()
    assert explained == (0.0, 0.0)


def test_histograms_count_every_value_in_round_bars():
    values = np.random.default_rng(0).gamma(2.0, 0.5, 5000)
    bars = histogram(np.append(values, np.nan), most=20)
    assert sum(bar.count for bar in bars) == 5000
    assert len(bars) <= 22
    inner = bars[3]
    assert inner.count == ((values >= inner.low) & (values < inner.high)).sum()
    assert histogram([math.nan]) == []
    assert sum(bar.count for bar in histogram([0.8, 0.8, 0.8])) == 3
    assert sum(bar.count for bar in histogram([-1.0, 0.0, 1.0])) == 3


def test_effects_equal_the_pairwise_definition_and_scipy():
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 12, 80) / 4, rng.integers(2, 14, 110) / 4
    effect = measure_effect(np.append(first, np.nan), second)
    larger = sum(float(a > b) - float(a < b) for a in first for b in second)
    assert effect.first == 80
    assert effect.cliffs_delta == pytest.approx(larger / 80 / 110)
    pooled = math.sqrt((first.var(ddof=1) * 79 + second.var(ddof=1) * 109) / 188)
    assert effect.cohens_d == pytest.approx((first.mean() - second.mean()) / pooled)
    test = stats.mannwhitneyu(first, second, method="asymptotic")
    assert effect.p_value == pytest.approx(test.pvalue, rel=1e-6)
    levels = np.union1d(first, second)
    p, q = (np.array([np.mean(part == level) for level in levels]) for part in (first, second))
    from scipy.spatial.distance import jensenshannon

    assert effect.jensen_shannon == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    same = measure_effect(first, first)
    assert same.cliffs_delta == pytest.approx(0)
    assert same.magnitude == "negligible"
    assert measure_effect([1, 1], [2, 2]).magnitude == "large"
    assert measure_effect([math.nan], [1.0]) is None


def ssim_by_the_equation(a, b):
    """Equation 13 of Wang et al. 2004, averaged over windows inside the image."""
    x, y = a.astype(float), b.astype(float)

    def mean(image):
        return cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5]

    mx, my = mean(x), mean(y)
    vx, vy, cxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mx * my + c1) * (2 * cxy + c2)
    return (above / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def test_ssim_is_that_of_the_paper():
    rng = np.random.default_rng(3)
    a = rng.integers(0, 256, (64, 64)).astype(np.uint8)
    b = np.clip(a + rng.normal(0, 20, a.shape), 0, 255).astype(np.uint8)
    assert ssim(a, b) == pytest.approx(ssim_by_the_equation(a, b), abs=1e-5)
    assert ssim(a, a) == pytest.approx(1)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-5)
    assert correlation(np.full_like(a, 7), np.full_like(a, 9)) == 1


def test_pixels_are_measured_on_a_stated_part(tiny_dataset):
    dataset = DatasetFolder.open(tiny_dataset)
    whole = inspect_pixels(dataset)
    assert whole.decoded.all()
    assert not whole.equal.any()
    row = next(dataset.rows(["frames", "apex_index"]))
    import cv2

    onset, apex = (
        cv2.imdecode(np.frombuffer(row["frames"][k]["bytes"], np.uint8), cv2.IMREAD_COLOR)
        for k in (0, row["apex_index"])
    )
    assert whole.psnr[0] == pytest.approx(cv2.PSNR(onset, apex), rel=1e-6)
    part = inspect_pixels(dataset, screened=10, compared=4)
    assert part.decoded.sum() == 10
    assert np.isfinite(part.ssim).sum() == 4
    np.testing.assert_array_equal(part.onset_hash, whole.onset_hash)
    again = inspect_pixels(dataset, screened=10, compared=4)
    np.testing.assert_array_equal(part.decoded, again.decoded)


def test_samples_hold_what_the_fixture_drew(tiny_dataset, make_dataset, tmp_path):
    samples = open_target(tiny_dataset)
    group = describe_groups(samples)[ALL, ALL]
    assert {au: n for au, n in enumerate(group.active.tolist()) if n} == {
        0: 8, 1: 8, 2: 4, 4: 8, 5: 4, 8: 8, 9: 4, 15: 8
    }  # fmt: skip
    assert group.cardinality[:5].tolist() == [0, 4, 12, 8, 0]
    assert summarise(samples.measures["identity_similarity"]).count == 5
    assert summarise(samples.measures["identity_similarity"]).missing == 19
    two = read_dataset(DatasetFolder.open(make_dataset(tmp_path / "two", identities=2)))
    ten = read_dataset(DatasetFolder.open(make_dataset(tmp_path / "ten", identities=2, frames=10)))
    np.testing.assert_allclose(two.rises, ten.rises)
