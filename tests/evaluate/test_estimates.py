import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from unmoved.evaluate.comparison.calibration import expected_error, rank_correlation
from unmoved.evaluate.comparison.estimate import NEWCOMBE, auroc, bootstrap
from unmoved.evaluate.comparison.selective import area


def test_auroc_is_the_share_of_pairs_in_order_ties_half():
    rng = np.random.default_rng(0)
    for _ in range(20):
        inside, outside = rng.integers(0, 5, 13).astype(float), rng.integers(-1, 4, 9).astype(float)
        pairs = np.mean([(a > b) + (a == b) / 2 for a in inside for b in outside])
        found = auroc(inside, outside)
        assert math.isclose(found.value, pairs) and found.low <= found.value <= found.high
        labels = np.r_[np.ones(13), np.zeros(9)]
        assert math.isclose(found.value, roc_auc_score(labels, np.r_[inside, outside]))


def test_delong_covers_the_true_area_about_as_often_as_it_says():
    """Normal scores one deviation apart: the area is Phi(1/sqrt 2) = 0.7602."""
    rng, true, hits = np.random.default_rng(1), 0.7602499389065233, 0
    for _ in range(400):
        found = auroc(rng.normal(1, 1, 60), rng.normal(0, 1, 40))
        hits += found.low <= true <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_samples_that_do_not_overlap_still_have_an_interval():
    found = auroc(np.arange(10.0) + 20, np.arange(10.0))
    assert found.value == 1 and found.high == 1 and 0.6 < found.low < 0.95 and found.how == NEWCOMBE
    worst = auroc(np.arange(10.0), np.arange(10.0) + 20)
    assert worst.value == 0 and worst.low == 0 and math.isclose(worst.high, 1 - found.low, abs_tol=1e-9)
    assert auroc(np.arange(100.0) + 200, np.arange(100.0)).low > found.low
    same = auroc(np.zeros(10), np.zeros(10))
    assert same.value == 0.5 and same.low < 0.35 and same.high > 0.65
    assert auroc(np.zeros(1), np.zeros(5)) is None


def test_newcombe_solves_his_equation():
    m, n, z = 12, 7, 1.959963984540054
    found = auroc(np.arange(m) + 100.0, np.arange(n) * 1.0)
    t, spare = found.low, (m + n) / 2 - 1
    variance = t * (1 - t) * (1 + spare * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
    assert math.isclose(1 - t, z * math.sqrt(variance), rel_tol=1e-9)


def test_the_bootstrap_of_a_mean_is_about_the_normal_interval():
    values = np.random.default_rng(2).normal(3, 2, 400)
    found = bootstrap(lambda rows: float(values[rows].mean()), 400)
    error = values.std() / 20
    assert found.value == values.mean()
    assert abs(found.low - (found.value - 1.96 * error)) < 0.2 * error
    assert abs(found.high - (found.value + 1.96 * error)) < 0.2 * error
    assert found == bootstrap(lambda rows: float(values[rows].mean()), 400)
    assert bootstrap(lambda rows: float("nan"), 10) is None and bootstrap(lambda rows: 1.0, 1) is None


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(3)
    for _ in range(10):
        one, other = rng.integers(0, 6, 30).astype(float), rng.integers(0, 6, 30).astype(float)
        assert math.isclose(rank_correlation(one, other), spearmanr(one, other).statistic, abs_tol=1e-12)
    assert math.isnan(rank_correlation(np.ones(5), np.arange(5.0)))


def test_expected_calibration_error_by_hand():
    groups = np.array([0, 0, 0, 0, 2, 2])
    confidences = np.array([0.5, 0.5, 0.5, 0.5, 0.9, 0.7])
    right = np.array([True, False, False, False, True, True])
    assert math.isclose(expected_error(groups, confidences, right), (4 * 0.25 + 2 * 0.2) / 6)


@pytest.mark.parametrize("seed", range(5))
def test_area_without_ties_is_the_mean_of_the_selective_risks(seed):
    rng = np.random.default_rng(seed)
    lengths, right = rng.permutation(40).astype(float), rng.random(40) < 0.7
    order = np.argsort(-lengths)
    risks = [(~right[order[: k + 1]]).mean() for k in range(40)]
    assert math.isclose(area(lengths, right, np.ones(40, bool)), np.mean(risks))


def test_area_with_ties_is_the_mean_over_their_orders_end():
    """All tied: one answer for all, at the overall risk; half abstain: half the coverage."""
    right = np.array([True, True, True, False])
    assert area(np.zeros(4), right, np.ones(4, bool)) == 0.25
    assert area(np.zeros(4), right, np.array([True, False, False, True])) == 0.5 * 0.5
    assert math.isnan(area(np.zeros(2), right[:2], np.zeros(2, bool)))
