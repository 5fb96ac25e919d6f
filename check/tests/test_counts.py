"""Counts evidence: the bounds against mpmath and exact rationals, and every way of lying about them."""

import copy
import random
import struct
import time
from collections.abc import Callable
from fractions import Fraction
from math import comb
from typing import Any

import mpmath
import pytest

from unmoved_check import binomial, noise_gaussian, normal
from unmoved_check import detour as detour_module
from unmoved_check.binomial import clopper_pearson_high, clopper_pearson_low
from unmoved_check.counts import MOST_SAMPLES, check_counts
from unmoved_check.normal import exp_bounds, normal_cdf_bounds, normal_quantile_bounds
from unmoved_check.outcome import Rejection
from unmoved_check.tensor import Tensor

MILLI = Fraction(1, 1000)


@pytest.fixture(autouse=True)
def sixty_digits():
    with mpmath.workdps(60):
        yield


def real(value: Fraction | int) -> mpmath.mpf:
    value = Fraction(value)
    return mpmath.mpf(value.numerator) / value.denominator


def mp_pmf(k: int, n: int, p: mpmath.mpf) -> mpmath.mpf:
    choose = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
    return mpmath.exp(choose + k * mpmath.log(p) + (n - k) * mpmath.log1p(-p))


def mp_at_least(k: int, n: int, p: mpmath.mpf) -> mpmath.mpf:
    term, total, j = mp_pmf(k, n, p), mpmath.mpf(0), k
    while j <= n and (j < n * p or term > total * mpmath.mpf(10) ** -50):
        total += term
        term *= (n - j) * p / ((j + 1) * (1 - p))
        j += 1
    return total


def mp_at_most(k: int, n: int, p: mpmath.mpf) -> mpmath.mpf:
    term, total, j = mp_pmf(k, n, p), mpmath.mpf(0), k
    while j >= 0 and (j > n * p or term > total * mpmath.mpf(10) ** -50):
        total += term
        term *= j * (1 - p) / ((n - j + 1) * p)
        j -= 1
    return total


def exact_at_least(k: int, n: int, p: Fraction) -> Fraction:
    return sum((comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1)), Fraction(0))


def random_cases(seed: int, many: int) -> list[tuple[int, int, Fraction]]:
    draw = random.Random(seed)
    cases = []
    for _ in range(many):
        n = draw.choice([1, 2, 5, 30, 100, 1000, 10_000, 100_000])
        k = draw.choice([draw.randint(0, n), n - draw.randint(0, min(n, 40)), draw.randint(0, min(n, 40))])
        cases.append((k, n, Fraction(draw.randint(1, 999), 1000) / 10 ** draw.choice([0, 0, 2, 5, 9, 30])))
    return cases


CASES = [
    *((k, 1, Fraction(1, 3)) for k in (0, 1)),
    *((k, 100_000, a) for k in (0, 1, 50_000, 99_999, 100_000) for a in (MILLI, Fraction(1, 10**12))),
    *((k, 1_000_000, MILLI) for k in (3, 700_000, 999_998)),
    *random_cases(1, 60),
]


# --- Clopper-Pearson ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "n", "level"), CASES)
def test_low_bound_is_safe_and_within_1e_10(k, n, level):
    bound = clopper_pearson_low(k, n, level)
    if k == 0:
        assert bound == 0
        return
    assert 0 < bound < 1
    assert mp_at_least(k, n, real(bound)) <= real(level)
    step = min(bound, 1 - bound) / 10**10
    assert mp_at_least(k, n, real(bound + step)) > real(level)


@pytest.mark.parametrize(("k", "n", "level"), CASES)
def test_high_bound_is_safe_and_within_1e_10(k, n, level):
    bound = clopper_pearson_high(k, n, level)
    if k == n:
        assert bound == 1
        return
    assert 0 < bound < 1
    assert mp_at_most(k, n, real(bound)) <= real(level)
    step = min(bound, 1 - bound) / 10**10
    assert mp_at_most(k, n, real(bound - step)) > real(level)


@pytest.mark.parametrize("level", [MILLI, Fraction(1, 20), Fraction(1, 2), Fraction(9, 10)])
def test_small_n_against_exact_rationals(level):
    for n in range(1, 13):
        for k in range(1, n + 1):
            bound = clopper_pearson_low(k, n, level)
            assert exact_at_least(k, n, bound) <= level < exact_at_least(k, n, bound + Fraction(1, 10**20))


def test_closed_forms():
    for n in (1, 7, 100_000):
        bound = real(clopper_pearson_low(n, n, MILLI))
        truth = mpmath.root(real(MILLI), n)
        assert truth * (1 - mpmath.mpf(10) ** -25) < bound < truth
        bound = real(clopper_pearson_high(0, n, MILLI))
        assert 1 - truth < bound < (1 - truth) * (1 + mpmath.mpf(10) ** -25)


def test_coverage_is_exact():
    # The meaning of the bound, whatever the formula: it exceeds p with probability at most `level`, at every p.
    n, level = 14, Fraction(1, 10)
    lows = [clopper_pearson_low(k, n, level) for k in range(n + 1)]
    worst = Fraction(0)
    for i in range(1, 60):
        p = Fraction(i, 60)
        missed = sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1) if lows[k] > p)
        assert missed <= level
        worst = max(worst, Fraction(missed))
    assert worst > level / 2


def test_agrees_roughly_with_scipy():
    beta = pytest.importorskip("scipy.stats").beta
    for k, n, level in random_cases(2, 60):
        if level < Fraction(1, 10**12):
            continue
        if k:
            assert float(clopper_pearson_low(k, n, level)) == pytest.approx(
                beta.ppf(float(level), k, n - k + 1), rel=1e-6
            )
        if k < n:
            assert float(clopper_pearson_high(k, n, level)) == pytest.approx(
                beta.isf(float(level), k + 1, n - k), rel=1e-6
            )


def test_weights_enclose_the_exact_sums():
    # Against exact rationals, on both sides of the mode, so that neither a lost remainder nor a rounding in the
    # wrong direction can hide in the slack of what follows.
    draw = random.Random(3)
    unit = 1 << binomial.UNIT
    for _ in range(150):
        n = draw.randint(1, 60)
        k = draw.randint(1, n)
        p = draw.randint(1, binomial.ONE - 1) >> draw.choice([0, 1, 8, 40])
        p = max(1, draw.choice([p, binomial.ONE - 1 - p]))
        odds = Fraction(p, binomial.ONE - p)
        above = [Fraction(comb(n, j), comb(n, k)) * odds ** (j - k) for j in range(k, n + 1)]
        below = [Fraction(comb(n, j), comb(n, k)) * odds ** (j - k) for j in range(k)]
        upper, lower = binomial._weights(k, n, p)
        assert sum(above) * unit <= upper <= sum(above) * unit * (1 + Fraction(1, 1 << 130))
        assert sum(below) * unit * (1 - Fraction(1, 1 << 130)) - n <= lower <= sum(below) * unit


def test_tail_proof_refuses_a_p_that_is_barely_too_large():
    k, n, level = 3, 5, Fraction(1, 16)
    bound = clopper_pearson_low(k, n, level)
    p = bound.numerator * (binomial.ONE // bound.denominator)
    assert binomial._tail_at_most(k, n, p, level)
    barely = p + (p >> 90)
    assert exact_at_least(k, n, Fraction(barely, binomial.ONE)) > level
    assert not binomial._tail_at_most(k, n, barely, level)


def test_a_bad_guess_is_repaired_not_believed(monkeypatch):
    clopper_pearson_low.cache_clear()
    truth = clopper_pearson_low(70, 100, MILLI)
    for factor in (Fraction(99, 100), Fraction(3, 2), Fraction(1001, 1000)):
        guess = int(truth * factor * binomial.ONE)
        monkeypatch.setattr(binomial, "_guess", lambda k, n, level, guess=guess: guess)
        clopper_pearson_low.cache_clear()
        assert clopper_pearson_low(70, 100, MILLI) <= truth * (1 + Fraction(1, 10**25))
    clopper_pearson_low.cache_clear()


def test_hundred_thousand_samples_take_well_under_half_a_second():
    clopper_pearson_low.cache_clear()
    start = time.process_time()
    clopper_pearson_low(50_000, 100_000, MILLI)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    "arguments", [(-1, 5, MILLI), (6, 5, MILLI), (0, 0, MILLI), (1, 5, Fraction(0)), (1, 5, Fraction(1))]
)
def test_bounds_refuse_nonsense(arguments):
    with pytest.raises(ValueError, match="needs"):
        clopper_pearson_low(*arguments)


# --- the normal law ----------------------------------------------------------------------------------------------


def encloses(low: int, high: int, truth: mpmath.mpf, width: mpmath.mpf) -> bool:
    unit = mpmath.mpf(2) ** normal.WORK
    return low <= truth * unit <= high and high - low <= width * unit


def test_exponential_is_enclosed():
    draw = random.Random(4)
    with mpmath.workdps(320):
        for exponent in [Fraction(0), Fraction(1), Fraction(1, 3), *(Fraction(draw.random() * 200) for _ in range(30))]:
            truth = mpmath.exp(real(exponent))
            assert encloses(*exp_bounds(exponent), truth, truth * mpmath.mpf(2) ** -600)


def test_root_two_pi_is_enclosed():
    with mpmath.workdps(320):
        assert encloses(*normal.root_two_pi(), mpmath.sqrt(2 * mpmath.pi), mpmath.mpf(2) ** -620)


def test_normal_cdf_is_enclosed():
    draw = random.Random(5)
    points = [0.0, 1e-30, 1.0, -1.0, 0.5, 6.0, -18.0, 18.6, *(draw.uniform(-18, 18) for _ in range(40))]
    with mpmath.workdps(320):
        for point in points:
            z = int(Fraction(point) * (1 << normal.POINT))
            truth = mpmath.ncdf(mpmath.mpf(z) / (1 << normal.POINT))
            assert encloses(*normal_cdf_bounds(z), truth, mpmath.mpf(2) ** -370)


def test_normal_quantile_is_enclosed():
    draw = random.Random(6)
    levels = [
        Fraction(1, 2),
        Fraction(1, 1 << 256),
        1 - Fraction(1, 1 << 256),
        Fraction(1, 10**30),
        1 - Fraction(1, 10**9),
    ]
    levels += [Fraction(draw.randint(1, 10**9 - 1), 10**9) for _ in range(12)]
    levels += [Fraction(1, draw.randint(2, 10**20)) for _ in range(6)]
    with mpmath.workdps(320):
        for level in levels:
            low, high = normal_quantile_bounds(level)
            assert mpmath.ncdf(real(low)) < real(level) < mpmath.ncdf(real(high))
            assert 0 < high - low < Fraction(1, 10**20)


def test_shift_rounds_up():
    assert [normal._ceil_shift(v, 2) for v in (0, 1, 3, 4, 5, 8, -1, -4, -5)] == [0, 1, 1, 1, 2, 2, 0, -1, -1]


@pytest.fixture
def few_bits(monkeypatch):
    """The same code with 30 bits after the point, where each single rounding is large enough to be seen."""
    for name, value in {"WORK": 30, "ONE": 1 << 30, "POINT": 6}.items():
        monkeypatch.setattr(normal, name, value)
    normal.root_two_pi.cache_clear()
    yield
    normal.root_two_pi.cache_clear()


def test_each_rounding_of_the_exponential_goes_outward(few_bits):
    for i in range(1200):
        exponent = Fraction(i, 400)
        truth = mpmath.exp(real(exponent))
        assert encloses(*exp_bounds(exponent), truth, truth * mpmath.mpf(2) ** -14)


def test_each_rounding_of_the_normal_law_goes_outward(few_bits):
    assert encloses(*normal.root_two_pi(), mpmath.sqrt(2 * mpmath.pi), mpmath.mpf(2) ** -20)
    for z in range(-200, 201):
        assert encloses(*normal_cdf_bounds(z), mpmath.ncdf(mpmath.mpf(z) / 64), mpmath.mpf(2) ** -14)


def test_a_bad_quantile_guess_is_repaired_not_believed(monkeypatch):
    low, high = normal_quantile_bounds(Fraction(9, 10))
    for shift in (-3, -(2.0**-90), 2.0**-90, 3):
        guess = int((low + Fraction(shift)) * (1 << normal.POINT))
        monkeypatch.setattr(normal, "_quantile_guess", lambda probability, guess=guess: guess)
        normal_quantile_bounds.cache_clear()
        other_low, other_high = normal_quantile_bounds(Fraction(9, 10))
        assert other_low < high
        assert other_high > low
    normal_quantile_bounds.cache_clear()


def test_normal_quantile_refuses_the_ends():
    for level in (Fraction(0), Fraction(1), Fraction(1, 1 << 257), Fraction(-1, 2)):
        with pytest.raises(ValueError, match="outside"):
            normal_quantile_bounds(level)


# --- the evidence ------------------------------------------------------------------------------------------------

Manifest = dict[str, Any]
SHAPE = (1, 1, 2, 3)
ON_GRID = tuple(k / 255 for k in (0, 17, 100, 254, 255, 3))


def center(
    values: tuple[float, ...] = ON_GRID, dtype: str = "F32", shape: tuple[int, ...] = SHAPE
) -> dict[str, Tensor]:
    code = {"F32": "f", "F64": "d", "F16": "e"}[dtype]
    return {"center": Tensor(dtype, shape, struct.pack(f"<{len(values)}{code}", *values))}


def bundle(counts: list[int], radius: Fraction | str, *, bound: str = "two-class", **evidence: Any) -> Manifest:
    alpha = evidence.get("alpha", "1/1000")
    top = evidence.get("top", 0)
    return {
        "input": {"tensor": "center"},
        "threat": {"kind": "lp", "norm": "2", "eps": "1/100", "clip": None},
        "property": {"kind": "same_class", "label": top, "classes": len(counts)},
        "claim": {
            "verdict": "CERTIFIED",
            "function": "g",
            "semantics": "sampled",
            "guarantee": {"kind": "probabilistic", "alpha": alpha},
            "radius": str(radius),
        },
        "evidence": {
            "kind": "counts",
            "noise": "gaussian-grid",
            "sigma": "1/2",
            "grid": 255,
            "offset": "0",
            "on_grid": True,
            "bound": bound,
            "looks": {"sizes": [sum(counts)], "shares": ["1"], "at": 0},
            "samples": sum(counts),
            "selection_samples": 100,
            "counts": counts,
            "top": top,
            "alpha": alpha,
            "seed": "0f" * 32,
            "number": None,
            "sampler": "philox4x32-10/grid/1",
            "classes": None,
            **evidence,
        },
    }


def true_radius(manifest: Manifest, dimension: int = 6) -> mpmath.mpf:
    """The format page's R at the grid point, by mpmath: quantiles by root finding on the exact tails."""
    evidence = manifest["evidence"]
    counts, n, sigma = list(evidence["counts"]), evidence["samples"], Fraction(evidence["sigma"])
    reach = mpmath.ceil(real(10 * sigma * evidence["grid"]))
    looks = evidence["looks"]
    alpha = real(Fraction(evidence["alpha"])) - looks["sizes"][-1] * dimension * (2 * reach + 2) / mpmath.mpf(2) ** 64
    alpha *= real(Fraction(looks["shares"][looks["at"]]))
    k = counts.pop(evidence["top"])
    if evidence["bound"] == "two-class":
        alpha /= 2

    def quantile(hits: int) -> mpmath.mpf:
        if hits == n:
            return mpmath.root(alpha, n)
        return mpmath.findroot(lambda p: mpmath.log(mp_at_least(hits, n, p) / alpha), start(hits), solver="anderson")

    def start(hits: int) -> tuple[mpmath.mpf, mpmath.mpf]:
        spread = mpmath.sqrt(mpmath.mpf(hits) * (n - hits) / n + 1)
        return max((hits - 6 * spread) / n, mpmath.mpf(1) / n**3), (hits - spread) / n

    def inverse(p: mpmath.mpf) -> mpmath.mpf:
        return mpmath.findroot(lambda z: mpmath.ncdf(z) - p, float(mpmath.erfinv(2 * p - 1) * mpmath.sqrt(2)))

    if evidence["bound"] == "one-class":
        return real(sigma) * inverse(quantile(k))
    return real(sigma) / 2 * (inverse(quantile(k)) + inverse(quantile(n - max(counts))))


def accepted(manifest: Manifest, tensors: dict[str, Tensor] | None = None, radius: mpmath.mpf | None = None) -> bool:
    if radius is not None:
        manifest["claim"]["radius"] = f"{int(radius * 10**30)}/{10**30}"
    try:
        check_counts(manifest, tensors or center(dtype="F32"), SHAPE)
    except Rejection as reason:
        assert "claim.radius" in str(reason)
        return False
    return True


ON = (0.0,) * 6
NANO = mpmath.mpf(10) ** -9


@pytest.mark.parametrize("bound", ["one-class", "two-class"])
@pytest.mark.parametrize("counts", [[990, 4, 6], [1000, 0, 0], [620, 300, 80], [10_000, 0], [99_000, 600, 400]])
def test_radius_is_that_of_the_format_page_to_1e_9(bound, counts):
    manifest = bundle(counts, "0", bound=bound)
    manifest["threat"]["eps"] = "0"
    truth = true_radius(manifest)
    assert accepted(manifest, center(ON), truth - NANO)
    assert not accepted(manifest, center(ON), truth + NANO)
    assert not accepted(manifest, center(ON), truth + mpmath.mpf(10) ** -28)


def test_two_class_needs_no_majority():
    manifest = bundle([450, 300, 250], "1/100")
    assert accepted(manifest, center(ON), true_radius(manifest) - NANO)
    manifest["evidence"]["bound"] = "one-class"
    with pytest.raises(Rejection, match="more than half"):
        check_counts(manifest, center(ON), SHAPE)


def test_largest_radius_at_a_hundred_thousand_samples():
    # Cohen, Rosenfeld and Kolter's certify with N = 100,000, alpha = .001: 3.81 sigma.
    manifest = bundle([100_000, 0], "0", bound="one-class", sigma="1")
    assert check_counts({**manifest, "threat": {**manifest["threat"], "eps": "0"}}, center(ON), SHAPE).startswith(
        "radius >= 3.81"
    )


@pytest.mark.parametrize(("misses", "published"), list(enumerate([0.978, 0.955, 0.941, 0.929, 0.920])))
def test_cohens_largest_radii(misses, published):
    # The five largest radii in the released sigma = .25 logs (N = 100,000, found to be run at alpha = .01).
    manifest = bundle([100_000 - misses, misses], "1/100", bound="one-class", sigma="1/4", alpha="1/100")
    text = check_counts(manifest, center(ON), SHAPE)
    assert float(text.split()[2]) == pytest.approx(published, abs=5.1e-4)


@pytest.mark.parametrize("bound", ["one-class", "two-class"])
def test_each_quantile_is_taken_from_its_safe_end(bound, monkeypatch):
    manifest = bundle([900, 60, 40], "1/100", bound=bound)
    width = Fraction(1, 8)
    wide = {
        p: (low - width, high + width)
        for p, low, high in ((p, *normal_quantile_bounds(p)) for p in levels_asked(manifest, monkeypatch))
    }
    monkeypatch.setattr(noise_gaussian, "normal_quantile_bounds", wide.__getitem__)
    truth = true_radius(manifest) - real(Fraction(1, 2) * width)
    assert accepted(manifest, center(ON), truth - NANO)
    assert not accepted(manifest, center(ON), truth + NANO)


def levels_asked(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> list[Fraction]:
    asked: list[Fraction] = []

    def listen(probability: Fraction) -> tuple[Fraction, Fraction]:
        asked.append(probability)
        return normal_quantile_bounds(probability)

    monkeypatch.setattr(noise_gaussian, "normal_quantile_bounds", listen)
    check_counts(manifest, center(ON), SHAPE)
    return asked


def test_text_gives_the_radius_rounded_down_and_the_claim():
    manifest = bundle([990, 10], "83/100")
    text = check_counts(manifest, center(ON), SHAPE)
    shown = mpmath.mpf(text.split()[2])
    truth = true_radius(manifest)
    assert shown <= truth < shown + mpmath.mpf(10) ** -9
    assert text.endswith("(claimed 0.830000000)")


def test_samplers_distance_is_taken_off_alpha():
    manifest = bundle([100_000, 0], "1/10", alpha=str(Fraction(100_000 * 6 * (2 * 1275 + 2), 1 << 64)))
    with pytest.raises(Rejection, match="used up"):
        check_counts(manifest, center(ON), SHAPE)
    alpha = Fraction(100_000 * 6 * (2 * 1275 + 2), 1 << 64) * 2
    manifest = bundle([100_000, 0], "1/10", alpha=str(alpha))
    truth = true_radius(manifest)
    assert accepted(manifest, center(ON), truth - NANO)
    assert not accepted(manifest, center(ON), truth + NANO)


# --- the grid ----------------------------------------------------------------------------------------------------


def test_float32_grid_points_are_on_the_grid_and_cost_their_rounding():
    manifest = bundle([990, 10], "1/10")
    tensors = center(ON_GRID)
    rest = sum(
        (value - Fraction(k, 255)) ** 2
        for value, k in zip(tensors["center"].fractions(), (0, 17, 100, 254, 255, 3), strict=True)
    )
    assert rest > 0
    truth = true_radius(manifest) - mpmath.sqrt(real(rest))
    assert accepted(manifest, tensors, truth - mpmath.mpf(10) ** -20)
    assert not accepted(manifest, tensors, truth + mpmath.mpf(10) ** -20)


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        (1 + 2.0**-24, True),
        (1 + 2.0**-24 + 2.0**-48, True),
        (1 + 2.0**-24 + 2.0**-47, False),
        (1 - 2.0**-25, True),
        (1 - 2.0**-24, False),
        (-1 - 2.0**-24, True),
        (-1 + 2.0**-24, False),
    ],
)
def test_on_grid_means_within_two_to_the_minus_24_of_its_size(value, inside):
    tensors = center((0.0, value, 1.0, 1.0, 0.0, 0.0), "F64")
    manifest = bundle([990, 10], "1/10")
    if inside:
        assert check_counts(manifest, tensors, SHAPE)
    else:
        with pytest.raises(Rejection, match="element 1 of the centre"):
            check_counts(manifest, tensors, SHAPE)


def test_distances_of_all_elements_add_up():
    tensors = center((1 - 2.0**-25,) * 6, "F64")
    manifest = bundle([990, 10], "1/10")
    truth = true_radius(manifest) - mpmath.sqrt(6) * mpmath.mpf(2) ** -25
    assert accepted(manifest, tensors, truth - mpmath.mpf(10) ** -20)
    assert not accepted(manifest, tensors, truth + mpmath.mpf(10) ** -20)


def test_square_root_is_rounded_up_and_close():
    assert detour_module.sqrt_high(Fraction(0)) == 0
    for value in (Fraction(2), Fraction(1, 3), Fraction(1, 10**90), Fraction(6, 255**2), Fraction(4)):
        root = detour_module.sqrt_high(value)
        assert (
            root * root
            >= value
            > (root - Fraction(1, 1 << 127)) * abs(root - Fraction(1, 1 << 127)) - Fraction(1, 1 << 250)
        )


def test_every_float32_eight_bit_level_is_on_the_grid():
    tensors = center(tuple(k / 255 for k in range(256)), shape=(256,))
    assert check_counts(bundle([990, 10], "1/10"), tensors, (256,))


def test_off_grid_centre_may_not_claim_to_be_on_it():
    off = (0.1, 0.2, 0.3, 0.45, 0.5, 0.6)
    with pytest.raises(Rejection, match="element 0 of the centre"):
        check_counts(bundle([990, 10], "1/10"), center(off), SHAPE)
    manifest = bundle([990, 10], "1/10", on_grid=False)
    truth = true_radius(manifest) - mpmath.sqrt(6) / 255
    assert accepted(manifest, center(off), truth - NANO)
    assert not accepted(manifest, center(off), truth + NANO)


def test_centre_of_many_sizes_is_summed_exactly():
    # Denormals and large numbers in one tensor: no float underflow or overflow anywhere.
    tensors = center((5e-324, 0.0, 2.0**60, 1.0, 0.0, 0.0), "F64")
    with pytest.raises(Rejection, match="element 0 of the centre"):
        check_counts(bundle([990, 10], "1/10"), tensors, SHAPE)
    assert check_counts(bundle([990, 10], "1/10", on_grid=False), tensors, SHAPE)


# --- tampering ---------------------------------------------------------------------------------------------------

HONEST = bundle([9900, 60, 40], "1/2")


def test_the_honest_bundle_is_accepted():
    assert check_counts(copy.deepcopy(HONEST), center(), SHAPE).startswith("radius >= ")


def lie(*path: str, to: Any) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        part = manifest
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = to

    return change


def lies(*changes: Callable[[Manifest], None]) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        for one in changes:
            one(manifest)

    return change


LIES = {
    "sum": (lie("evidence", "counts", to=[9901, 60, 40]), "add up"),
    "sum too small": (lie("evidence", "counts", to=[9899, 60, 40]), "add up"),
    "fewer samples": (lie("evidence", "samples", to=9999), "add up"),
    "label": (lie("property", "label", to=1), "label is not evidence.top"),
    "top": (lie("evidence", "top", to=1), "label is not evidence.top"),
    "both": (lies(lie("evidence", "top", to=1), lie("property", "label", to=1)), "no positive radius"),
    "top without votes": (
        lies(lie("evidence", "counts", to=[0, 6000, 4000]), lie("evidence", "bound", to="two-class")),
        "any probability",
    ),
    "top out of range": (lies(lie("evidence", "top", to=3), lie("property", "label", to=3)), "not a class"),
    "top negative": (lie("evidence", "top", to=-3), "top is not an integer >= 0"),
    "top bool": (lie("evidence", "top", to=False), "top is not an integer"),
    "label bool": (lie("property", "label", to=False), "label is not an integer"),
    "classes": (lie("property", "classes", to=10), "classes is not the number"),
    "classes float": (lie("property", "classes", to=3.0), "classes is not an integer"),
    "one class": (lies(lie("evidence", "counts", to=[10_000]), lie("property", "classes", to=1)), "two numbers"),
    "negative count": (lie("evidence", "counts", to=[10_010, -10, 0]), r"counts\[1\] is not an integer >= 0"),
    "float count": (lie("evidence", "counts", to=[9900.0, 60, 40]), r"counts\[0\] is not an integer"),
    "bool count": (lie("evidence", "counts", to=[9999, True, 0]), r"counts\[1\] is not an integer"),
    "text count": (lie("evidence", "counts", to=["9900", 60, 40]), r"counts\[0\] is not an integer"),
    "counts no list": (lie("evidence", "counts", to={"0": 9900}), "not a list"),
    "float samples": (lie("evidence", "samples", to=10_000.0), "samples is not an integer"),
    "no samples": (lies(lie("evidence", "samples", to=0), lie("evidence", "counts", to=[0, 0, 0])), "samples is not"),
    "bool samples": (lies(lie("evidence", "samples", to=True), lie("evidence", "counts", to=[1, 0, 0])), "samples"),
    "huge samples": (
        lies(lie("evidence", "samples", to=10**30), lie("evidence", "counts", to=[10**30, 0, 0])),
        f"more than this checker takes, {MOST_SAMPLES}",
    ),
    "selection": (lie("evidence", "selection_samples", to=-1), "selection_samples"),
    "selection bool": (lie("evidence", "selection_samples", to=True), "selection_samples"),
    "alpha of the claim": (lie("claim", "guarantee", "alpha", to="1/10000"), "is not evidence.alpha"),
    "weaker claim": (lie("claim", "guarantee", "alpha", to="1/100"), "is not evidence.alpha"),
    "alpha of the evidence": (lie("evidence", "alpha", to="1/10"), "is not evidence.alpha"),
    "alpha 0": (lie("evidence", "alpha", to="0"), "between 0 and 1"),
    "alpha 1": (lie("evidence", "alpha", to="1"), "between 0 and 1"),
    "alpha number": (lie("evidence", "alpha", to=0.001), "alpha is not a rational"),
    "alpha nan": (lie("evidence", "alpha", to="nan"), "alpha is not a rational"),
    "alpha by zero": (lie("evidence", "alpha", to="1/0"), "denominator zero"),
    "alpha bomb": (lie("evidence", "alpha", to="1e-999999999"), "alpha is not a rational"),
    "alpha spaces": (lie("evidence", "alpha", to=" 1/1000"), "alpha is not a rational"),
    "sigma 0": (lie("evidence", "sigma", to="0"), "sigma is not positive"),
    "sigma negative": (lie("evidence", "sigma", to="-1/2"), "sigma is not positive"),
    "sigma infinite": (lie("evidence", "sigma", to="inf"), "sigma is not a rational"),
    "sigma integer": (lie("evidence", "sigma", to=1), "sigma is not a rational"),
    "sigma enormous": (lie("evidence", "sigma", to="1e900"), "used up"),
    "grid 0": (lie("evidence", "grid", to=0), "grid is not an integer >= 1"),
    "grid negative": (lie("evidence", "grid", to=-255), "grid is not an integer >= 0"),
    "grid bool": (lie("evidence", "grid", to=True), "grid is not an integer"),
    "grid float": (lie("evidence", "grid", to=255.0), "grid is not an integer"),
    "other grid": (lie("evidence", "grid", to=100), "not on the grid of 1/100"),
    "on_grid integer": (lie("evidence", "on_grid", to=1), "on_grid is not true or false"),
    "offset": (lie("evidence", "offset", to="1/2"), "offset is not '0'"),
    "offset integer": (lie("evidence", "offset", to=0), "offset is not '0'"),
    "bound": (lie("evidence", "bound", to="no-class"), "bound is not one of"),
    "bound list": (lie("evidence", "bound", to=["one-class"]), "bound is not one of"),
    "noise": (lie("evidence", "noise", to="gaussian"), "noise is not"),
    "sampler": (lie("evidence", "sampler", to="torch.randn"), "sampler is not"),
    "kind": (lie("evidence", "kind", to="dual-tree"), "kind is not"),
    "short seed": (lie("evidence", "seed", to="0f" * 31), "seed is not 32 bytes"),
    "seed not hex": (lie("evidence", "seed", to="0g" * 32), "seed is not 32 bytes"),
    "seed with newline": (lie("evidence", "seed", to="0f" * 32 + "\n"), "seed is not 32 bytes"),
    "radius": (lie("claim", "radius", to="2"), "more than the counts prove"),
    "radius null": (lie("claim", "radius", to=None), "radius is not a rational"),
    "radius negative": (lies(lie("claim", "radius", to="-1"), lie("threat", "eps", to="-2")), "radius is negative"),
    "radius number": (lie("claim", "radius", to=0.5), "radius is not a rational"),
    "eps beyond": (lie("threat", "eps", to="51/100"), "eps is larger than claim.radius"),
    "eps negative": (lie("threat", "eps", to="-1/100"), "eps is negative"),
    "verdict": (lie("claim", "verdict", to="FALSIFIED"), "verdict is not"),
    "function": (lie("claim", "function", to="f"), "function is not 'g'"),
    "semantics": (lie("claim", "semantics", to="real"), "semantics is not 'sampled'"),
    "guarantee": (lie("claim", "guarantee", "kind", to="deterministic"), "kind is not 'probabilistic'"),
    "guarantee text": (lie("claim", "guarantee", to="probabilistic"), "guarantee is not an object"),
    "norm": (lie("threat", "norm", to="inf"), "more than the counts prove"),
    "norm unknown": (lie("threat", "norm", to="0"), "norm is not one of"),
    "norm integer": (lie("threat", "norm", to=2), "norm is not one of"),
    "threat": (lie("threat", "kind", to="box"), "kind is not 'lp'"),
    "clip": (lie("threat", "clip", to=["0", "1"]), "clip is not null"),
    "property": (lie("property", "kind", to="linear"), "kind is not 'same_class'"),
    "no such tensor": (lie("input", "tensor", to="centre"), "not a tensor of the payload"),
    "tensor null": (lie("input", "tensor", to=None), "not a tensor of the payload"),
    "evidence list": (lie("evidence", to=[]), "evidence is not an object"),
    "claim null": (lie("claim", to=None), "claim is not an object"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_rejected_for_its_reason(name):
    change, reason = LIES[name]
    manifest = copy.deepcopy(HONEST)
    change(manifest)
    with pytest.raises(Rejection, match=reason):
        check_counts(manifest, center(), SHAPE)


PARTS = [("input",), ("threat",), ("property",), ("claim",), ("claim", "guarantee"), ("evidence",)]


def part_of(manifest: Manifest, path: tuple[str, ...]) -> dict[str, Any]:
    part: dict[str, Any] = manifest
    for name in path:
        part = part[name]
    return part


@pytest.mark.parametrize("path", PARTS, ids="/".join)
def test_unknown_and_missing_fields_are_rejected(path):
    manifest = copy.deepcopy(HONEST)
    part_of(manifest, path)["remark"] = "trust me"
    with pytest.raises(Rejection, match="unknown field 'remark'"):
        check_counts(manifest, center(), SHAPE)
    for name in part_of(HONEST, path):
        manifest = copy.deepcopy(HONEST)
        del part_of(manifest, path)[name]
        with pytest.raises(Rejection, match=f"lacks '{name}'"):
            check_counts(manifest, center(), SHAPE)


@pytest.mark.parametrize("name", ["input", "threat", "property", "claim", "evidence"])
def test_missing_parts_are_rejected(name):
    manifest = copy.deepcopy(HONEST)
    del manifest[name]
    with pytest.raises(Rejection, match=f"{name} is not an object"):
        check_counts(manifest, center(), SHAPE)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (center(shape=(6,)), "shape"),
        (center((*ON_GRID, 0.0), shape=(1, 1, 1, 7)), "shape"),
        (center(dtype="F16"), "neither float32 nor float64"),
        (center((float("nan"), *ON_GRID[1:])), "NaN"),
        (center((float("inf"), *ON_GRID[1:])), "NaN or infinity"),
        ({}, "not a tensor of the payload"),
    ],
)
def test_bad_centres_are_rejected(tensors, reason):
    with pytest.raises(Rejection, match=reason):
        check_counts(copy.deepcopy(HONEST), tensors, SHAPE)


@pytest.mark.parametrize("alpha", ["0.001", "1e-3", "1/1000", "2/2000"])
def test_a_rational_may_be_written_as_fraction_reads_it(alpha):
    assert check_counts(bundle([9900, 60, 40], "0.5", alpha=alpha), center(), SHAPE)
