"""Certificates of g: the numbers they carry, what is refused, and when they abstain."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from unmoved.core.errors import UsageError
from unmoved.smooth import ABSTAIN, Gaussian, Purpose, Smoothed, Stream, VoteCounter, input_seed
from unmoved.smooth.statistics import largest_radius, two_class

NOISE = Gaussian("1/2")


def point(value=100, d=6):
    return np.full(d, value / 255, np.float32)


def sign(z):
    """Two classes: 1 where the first number exceeds 100.5/255."""
    return (z[:, 0] > 100.5 / 255).to(torch.int64)


def test_certificate_carries_what_rederives_it():
    result = Smoothed(sign, NOISE, 2, model="m").certify(point(200), samples=2000, alpha="1/100", seed=4)
    assert result.label == result.top == 1 and not result.abstained and result.reason == ""
    assert (result.samples, result.selection_samples) == (sum(result.counts), sum(result.selection_counts))
    assert (result.sigma, result.grid, result.alpha) == (Fraction(1, 2), 255, Fraction(1, 100))
    assert result.on_grid and 0 < result.grid_distance < 1e-6 and result.invalid == 0
    assert Fraction(result.radius_text) == Fraction(result.radius)
    left = Fraction(1, 100) - Fraction(2000 * 6 * (2 * 1275 + 2), 2**64)
    bounds = two_class(result.counts, 1, left * result.plan.looks.shares[result.at])
    assert (result.p_low, result.p_high) == (bounds.p_low, bounds.p_high)
    exact = Fraction(NOISE.radius(bounds.p_low, bounds.p_high)) - Fraction(result.grid_distance)
    assert exact * (1 - Fraction(1, 10**12)) < Fraction(result.radius) < exact
    for purpose, counts in ((0, result.counts), (1, result.selection_counts)):
        stream = Stream(bytes.fromhex(result.seed), Purpose(purpose))
        counter = VoteCounter(sign, NOISE, 2, 77)
        assert counter.count(NOISE.place(point(200)), range(sum(counts)), stream=stream).counts == counts
    evidence = result.evidence
    assert (evidence.counts, evidence.top, evidence.seed) == (result.counts, 1, result.seed)


def test_selection_and_certification_share_no_copy():
    seen = []

    def classify(z):
        seen.append(z.clone())
        return sign(z)

    smoothed = Smoothed(classify, NOISE, 2, batch=100)
    smoothed.certify(point(), selection_samples=100, samples=300, mode="fixed")
    smoothed.predict(point(), 100)
    copies = torch.cat(seen)
    assert len(copies) == 500 and len(copies.unique(dim=0)) == 500


def test_off_the_grid_costs_the_grid_s_diagonal():
    x = point(200) + np.float32(0.001)
    result = Smoothed(sign, NOISE, 2).certify(x, samples=2000)
    assert not result.on_grid
    assert Fraction(6, 255**2) <= Fraction(result.grid_distance) ** 2 <= Fraction(6, 255**2) * (1 + Fraction(1, 10**12))
    assert result.radius <= NOISE.radius(result.p_low, result.p_high) - result.grid_distance


def test_same_question_same_answer_other_question_other_noise():
    smoothed = Smoothed(sign, NOISE, 2, model="m")
    first, again = (smoothed.certify(point(), samples=500, seed=1) for _ in range(2))
    assert first.counts == again.counts and first.seed == again.seed
    others = [
        smoothed.certify(point(), samples=500, seed=2),
        smoothed.certify(point(101), samples=500, seed=1),
        smoothed.certify(point(), samples=501, seed=1),
        smoothed.certify(point(), samples=500, seed=1, mode="fixed"),
        smoothed.certify(point(), samples=500, seed=1, bound="one-class"),
        Smoothed(sign, NOISE, 2, model="n").certify(point(), samples=500, seed=1),
        Smoothed(sign, Gaussian("1/4"), 2, model="m").certify(point(), samples=500, seed=1),
    ]
    assert len({first.seed, *(other.seed for other in others)}) == 8
    # the same votes, read at another level or with another aim
    same = [{"alpha": "1/10"}, {"mode": "grid"}, {"mode": "target", "size": "1/9"}]
    assert {smoothed.certify(point(), samples=500, seed=1, **asked).seed for asked in same} == {first.seed}


def test_seed_fields_do_not_run_together():
    x = np.zeros(2, np.float32)
    seeds = {
        input_seed(1, "1m", x=x, parameters={}),
        input_seed(11, "m", x=x, parameters={}),
        input_seed(1, "m", x=x.reshape(1, 2), parameters={"1": 1}),
        input_seed(1, "m", x=x, parameters={"1": 1}),
    }
    assert len(seeds) == 4 and all(len(seed) == 32 for seed in seeds)


def test_abstains_on_a_tie_and_says_why():
    result = Smoothed(lambda z: (z[:, 1] > z[:, 0]).to(torch.int64), NOISE, 2).certify(point(), samples=2000)
    assert result.label is ABSTAIN and result.abstained and result.radius == 0 and "not ahead" in result.reason
    assert result.radius_text == "0"


def test_one_nan_in_ten_thousand_is_enough_to_abstain():
    calls = []

    def classify(z):
        calls.append(1)
        logits = torch.tensor([[0.0, 1.0]]).repeat(len(z), 1)
        if len(calls) == 3:
            logits[0, 0] = float("nan")
        return logits

    result = Smoothed(classify, NOISE, 2).certify(point(), samples=10_000)
    assert result.abstained and result.invalid == 1 and "NaN" in result.reason


def test_all_nan_is_nobody_s_vote():
    result = Smoothed(lambda z: torch.full((len(z), 3), torch.nan), NOISE, 3).certify(point(), samples=500)
    assert result.abstained and result.counts == (0, 0, 0) and result.invalid == 150
    prediction = Smoothed(lambda z: torch.full((len(z), 3), torch.nan), NOISE, 3).predict(point())
    assert prediction.label is ABSTAIN


def test_predict():
    smoothed = Smoothed(sign, NOISE, 2)
    assert smoothed.predict(point(250)).label == 1 and smoothed.predict(point(0)).label == 0
    undecided = Smoothed(lambda z: (z[:, 1] > z[:, 0]).to(torch.int64), NOISE, 2)
    labels = [undecided.predict(point(), 200, alpha="1/10", seed=seed).label for seed in range(200)]
    assert sum(label is not ABSTAIN for label in labels) <= 38  # binomial (200, .1): P(> 38) < 1e-4


@pytest.mark.parametrize("bound", ["one-class", "two-class"])
def test_too_few_samples_name_the_number_that_would_do(bound):
    smoothed = Smoothed(lambda z: torch.zeros(len(z), dtype=torch.int64), NOISE, 2)
    with pytest.raises(UsageError, match="at least") as caught:
        smoothed.certify(point(), samples=5, bound=bound)
    needed = int(caught.value.expected.split()[2])
    assert smoothed.certify(point(), samples=needed, bound=bound).radius > 0
    with pytest.raises(UsageError):
        smoothed.certify(point(), samples=needed - 1, bound=bound)
    assert largest_radius(5, Fraction(1, 1000), Fraction(1, 2), bound) <= 0


def test_too_few_samples_off_the_grid_count_what_the_grid_costs():
    smoothed = Smoothed(lambda z: torch.zeros(len(z), dtype=torch.int64), NOISE, 2)
    x = np.full(10_000, 0.001, np.float32)
    with pytest.raises(UsageError, match="at least") as caught:
        smoothed.certify(x, samples=20)
    needed = int(caught.value.expected.split()[2])
    assert needed > 11 and smoothed.certify(x, samples=needed).radius > 0
    with pytest.raises(UsageError, match="finer grid"):
        Smoothed(sign, Gaussian("1/2", 3), 2).certify(x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0}, "alpha"),
        ({"alpha": 1}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"alpha": "1e-14"}, "deviation"),
        ({"samples": 0}, "samples"),
        ({"samples": 10.5}, "samples"),
        ({"selection_samples": 0}, "selection_samples"),
        ({"bound": "three-class"}, "bound"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(UsageError, match=message):
        Smoothed(sign, NOISE, 2).certify(point(), **change)


def test_predict_refuses_hopeless_requests():
    for samples, alpha in ((10, "1/1000"), (0, "1/10"), (100, 2)):
        with pytest.raises(UsageError):
            Smoothed(sign, NOISE, 2).predict(point(), samples, alpha=alpha)
    assert Smoothed(sign, NOISE, 2).predict(point(255), 11, alpha="1/1000").samples == 11
