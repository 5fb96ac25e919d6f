"""Counts of every noise and exact votes, against closed forms in mpmath and enumeration of all outcomes."""

import copy
import itertools
import struct
from fractions import Fraction
from math import comb

import mpmath
import pytest

from unmoved_check.binomial import clopper_pearson_high, clopper_pearson_low
from unmoved_check.counts import check_counts
from unmoved_check.enumerated import check_enumerated
from unmoved_check.noise import law_of
from unmoved_check.noise_discrete import least_kept, sum_law
from unmoved_check.noise_laplace import kept
from unmoved_check.outcome import Rejection
from unmoved_check.tensor import Tensor

SHAPE = (1, 1, 4, 4)
NANO = Fraction(1, 10**9)
ZEROS = {"center": Tensor("F32", SHAPE, struct.pack("<16f", *[0.0] * 16))}
COUNTS = [9900, 60, 40]
SAMPLERS = {
    "gaussian-grid": "philox4x32-10/grid/1",
    "laplace-grid": "philox4x32-10/grid/1",
    "uniform-grid": "philox4x32-10/grid/1",
    "splitting": "philox4x32-10/splitting/1",
    "discrete": "philox4x32-10/replace/1",
    "sparse-flips(delete=2/5)": "philox4x32-10/flips/1",
    "ablation(5 of 16, 0.0)": "philox4x32-10/subset/1",
}


def bundle(noise, sigma, radius, norm, grid=255):
    l0 = {"kind": "l0", "size": int(Fraction(radius))}
    lp = {"kind": "lp", "norm": norm, "eps": str(radius), "clip": None}
    return {
        "input": {"tensor": "center"},
        "threat": l0 if norm == "0" else lp,
        "property": {"kind": "same_class", "label": 0, "classes": 3},
        "claim": {
            "verdict": "CERTIFIED",
            "function": "g",
            "semantics": "sampled",
            "guarantee": {"kind": "probabilistic", "alpha": "1/1000"},
            "radius": str(radius),
        },
        "evidence": {
            "kind": "counts",
            "noise": noise,
            "sigma": sigma,
            "grid": grid,
            "offset": "0",
            "on_grid": True,
            "bound": "two-class",
            "looks": {"sizes": [10_000], "shares": ["1"], "at": 0},
            "samples": 10_000,
            "selection_samples": 100,
            "counts": list(COUNTS),
            "top": 0,
            "alpha": "1/1000",
            "seed": "0f" * 32,
            "number": None,
            "sampler": SAMPLERS[noise],
            "classes": None,
        },
    }


def accepted(manifest, tensors=ZEROS, check=check_counts):
    try:
        check(copy.deepcopy(manifest), tensors, SHAPE)
    except Rejection as rejection:
        assert "more than" in str(rejection), rejection
        return False
    return True


def bounds(deviation):
    alpha = (Fraction(1, 1000) - 10_000 * deviation) / 2
    return clopper_pearson_low(9900, 10_000, alpha), clopper_pearson_high(60, 10_000, alpha)


def real(value):
    return mpmath.mpf(value.numerator) / value.denominator


UNIT = Fraction(16, 1 << 64)


def test_laplace_radius_is_the_closed_form():
    p_low, p_high = bounds(UNIT * (2 * 45 * 255 + 2))
    with mpmath.workdps(60):
        truth = (-mpmath.log(2 * (1 - real(p_low))) - mpmath.log(2 * real(p_high))) / 2
        near = Fraction(int(mpmath.floor(truth * 10**20)), 10**20)
    assert accepted(bundle("laplace-grid", "1", near - NANO, "1"))
    assert not accepted(bundle("laplace-grid", "1", near + NANO, "1"))


@pytest.mark.parametrize(("noise", "deviation"), [("uniform-grid", UNIT * (2 * 127 + 1)), ("splitting", UNIT * 255)])
def test_uniform_and_splitting_radii_are_below_lam_times_the_gap(noise, deviation):
    p_low, p_high = bounds(deviation)
    truth = Fraction(1, 2) * (p_low - p_high)
    assert accepted(bundle(noise, "1/2", truth - Fraction(1, 10**15), "1"))
    assert not accepted(bundle(noise, "1/2", truth, "1")), "at that very distance classes may be equal"
    assert not accepted(bundle(noise, "1/2", truth + NANO, "1"))


@pytest.mark.parametrize(("norm", "factor"), [("1", 1), ("2", 4), ("inf", 16)])
def test_l1_noise_in_other_norms(norm, factor):
    p_low, p_high = bounds(UNIT * 255)
    truth = Fraction(1, 2) * (p_low - p_high) / factor
    assert accepted(bundle("splitting", "1/2", truth - NANO, norm))
    assert not accepted(bundle("splitting", "1/2", truth + NANO, norm))


@pytest.mark.parametrize(("norm", "factor"), [("1", 1), ("2", 1), ("inf", 4)])
def test_gaussian_noise_in_other_norms(norm, factor):
    p_low, p_high = bounds(UNIT * (2 * 1275 + 2))
    with mpmath.workdps(40):
        quantiles = (mpmath.sqrt(2) * mpmath.erfinv(2 * real(p) - 1) for p in (p_low, p_high))
        low, high = quantiles
        truth = Fraction(int((low - high) / 4 * 10**20), 10**20) / factor
    assert accepted(bundle("gaussian-grid", "1/2", truth - NANO, norm))
    assert not accepted(bundle("gaussian-grid", "1/2", truth + NANO, norm))


def test_a_centre_off_the_grid_costs_d_over_q_in_l1():
    tensors = {"center": Tensor("F32", SHAPE, struct.pack("<16f", *[0.001] * 16))}
    p_low, p_high = bounds(UNIT * 255)
    manifest = bundle("splitting", "1/2", (p_low - p_high) / 2 - Fraction(16, 255) - NANO, "1")
    with pytest.raises(Rejection, match="not on the grid"):
        check_counts(manifest, tensors, SHAPE)
    manifest["evidence"]["on_grid"] = False
    assert accepted(manifest, tensors)
    manifest = bundle("splitting", "1/2", (p_low - p_high) / 2 - Fraction(16, 255) + NANO, "1")
    manifest["evidence"]["on_grid"] = False
    assert not accepted(manifest, tensors)


def test_laplace_worst_case_is_that_of_a_half_line():
    for p, r in itertools.product(
        (Fraction(1, 10), Fraction(1, 2), Fraction(7, 10), Fraction(99, 100)), (0, 0.3, 1, 3)
    ):
        with mpmath.workdps(40):
            place = mpmath.log(2 * real(p)) if 2 * p <= 1 else -mpmath.log(2 * (1 - real(p)))
            moved = place - r
            truth = mpmath.exp(moved) / 2 if moved <= 0 else 1 - mpmath.exp(-moved) / 2
            growth = Fraction(str(mpmath.exp(r)))
            assert abs(real(kept(p, growth)) - truth) < 1e-30


# --- L0 ----------------------------------------------------------------------------------------------------------


def least_by_enumeration(p, here, there):
    """Neyman-Pearson over single outcomes, sorted by ratio: no sums, no symmetry."""
    order = sorted(range(len(here)), key=lambda i: -(here[i] / there[i]) if there[i] else -Fraction(10**30))
    kept_here, rest = Fraction(0), p
    for i in order:
        part = min(Fraction(1), rest / here[i]) if here[i] else 0
        kept_here += part * there[i]
        rest -= part * here[i]
    return kept_here


@pytest.mark.parametrize("changed", [0, 1, 2, 3])
def test_discrete_worst_case_against_all_outcomes(changed):
    keep, values = Fraction(3, 5), 3
    other = (1 - keep) / values
    # x = 0...0, x' = 1...1, each outcome a tuple of values 0 ... 3
    here, there = [], []
    for outcome in itertools.product(range(values + 1), repeat=changed):
        a = b = Fraction(1)
        for value in outcome:
            a *= keep if value == 0 else other
            b *= keep if value == 1 else other
        here.append(a)
        there.append(b)
    law = sum_law([[keep, 1 - keep - other, other]] * changed)
    for p in (Fraction(1, 7), Fraction(1, 2), Fraction(9, 10), Fraction(1)):
        assert least_kept(p, law, (law[0][::-1], law[1])) == least_by_enumeration(p, here, there)


@pytest.mark.parametrize(("added", "deleted"), [(1, 0), (0, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize(("plus", "minus"), [("1/10", "2/5"), ("0", "1/2"), ("1/3", "1/5")])
def test_flips_worst_case_against_all_outcomes(added, deleted, plus, minus):
    plus, minus = Fraction(plus), Fraction(minus)
    law = law_of(f"sparse-flips(delete={minus})", plus, 1, SHAPE)
    here, there = [], []
    for flips in itertools.product((False, True), repeat=added + deleted):
        a = b = Fraction(1)
        for i, flipped in enumerate(flips):
            p, q = (plus, 1 - minus) if i < added else (minus, 1 - plus)
            a *= p if flipped else 1 - p
            b *= q if flipped else 1 - q
        here.append(a)
        there.append(b)
    laws = law._laws(added, deleted)
    for p in (Fraction(1, 7), Fraction(1, 2), Fraction(9, 10), Fraction(1)):
        assert least_kept(p, *laws) == least_by_enumeration(p, here, there)


def largest(noise, sigma, grid, holds):
    """The largest size that the definition proves; the checker must agree on it and on the next one."""
    best = max(r for r in range(20) if all(holds(s) for s in range(r + 1)))
    assert accepted(bundle(noise, sigma, best, "0", grid))
    assert not accepted(bundle(noise, sigma, best + 1, "0", grid))
    return best


def test_ablation_radius_by_counting_subsets():
    p_low, p_high = bounds(Fraction(256, 1 << 65))

    def holds(r):
        return p_low - p_high > 2 * (1 - Fraction(comb(16 - r, 5) if r <= 16 else 0, comb(16, 5)))

    assert largest("ablation(5 of 16, 0.0)", "5/16", 0, holds) == 1


def test_discrete_and_flips_radii():
    p_low, p_high = bounds(UNIT * 4)

    def discrete(r):
        other = Fraction(2, 5) / 3
        law = sum_law([[Fraction(3, 5), 1 - Fraction(3, 5) - other, other]] * r)
        back = (law[0][::-1], law[1])
        return least_kept(p_low, law, back) + least_kept(1 - p_high, law, back) > 1

    assert largest("discrete", "3/5", 3, discrete) >= 1
    p_low, p_high = bounds(UNIT * 3)
    law = law_of("sparse-flips(delete=2/5)", Fraction(1, 10), 1, SHAPE)

    def flips(r):
        return all(
            least_kept(p_low, *law._laws(a, r - a)) + least_kept(1 - p_high, *law._laws(a, r - a)) > 1
            for a in range(r + 1)
        )

    assert largest("sparse-flips(delete=2/5)", "1/10", 1, flips) >= 1


HONEST = {
    "laplace-grid": ("laplace-grid", "1/2", "1", "1", 255),
    "splitting": ("splitting", "1/2", "1/4", "1", 255),
    "uniform-grid": ("uniform-grid", "1/2", "1/4", "1", 255),
    "discrete": ("discrete", "3/5", "1", "0", 3),
    "flips": ("sparse-flips(delete=2/5)", "1/10", "1", "0", 1),
    "ablation": ("ablation(5 of 16, 0.0)", "5/16", "1", "0", 0),
}

LIES = [
    ("noise", "discrete(1)"),
    ("noise", "sparse-flips"),
    ("noise", "ablation(5 of 15, 0.0)"),
    ("noise", "ablation(17 of 16, 0.0)"),
    ("noise", "ablation(5 of 16, mask)"),
    ("noise", "sparse-flips(delete=1)"),
    ("noise", "gaussian"),
    ("noise", None),
    ("sigma", "-1"),
    ("sampler", "numpy"),
    ("grid", -1),
]


@pytest.mark.parametrize("name", HONEST)
def test_lies_about_the_noise(name):
    honest = bundle(*HONEST[name])
    assert accepted(honest)
    for field, value in LIES:
        manifest = copy.deepcopy(honest)
        manifest["evidence"][field] = value
        with pytest.raises(Rejection):
            check_counts(manifest, ZEROS, SHAPE)
    other = bundle("laplace-grid", "1", "1", "0" if HONEST[name][3] == "1" else "1")["threat"]
    for threat in (other, {"kind": "patch", "side": 1}):
        with pytest.raises(Rejection):
            check_counts({**honest, "threat": threat}, ZEROS, SHAPE)


def test_centres_that_a_noise_does_not_know():
    far = {"center": Tensor("F32", SHAPE, struct.pack("<16f", *[2.0] * 16))}
    for name, reason in (("discrete", "within"), ("flips", "binary")):
        with pytest.raises(Rejection, match=reason):
            check_counts(bundle(*HONEST[name]), far, SHAPE)


# --- exact votes -------------------------------------------------------------------------------------------------


def exact(noise, radius, counts, copies, lam=None, grid=0, top=0, invalid=0, on_grid=True):
    threat = {"kind": "lp", "norm": "1", "eps": str(radius), "clip": None} if grid else None
    return {
        "input": {"tensor": "center"},
        "threat": threat or {"kind": "patch", "side": int(Fraction(radius))},
        "property": {"kind": "same_class", "label": top, "classes": len(counts)},
        "claim": {
            "verdict": "CERTIFIED",
            "function": "g",
            "semantics": "enumerated",
            "guarantee": {"kind": "deterministic"},
            "radius": str(radius),
        },
        "evidence": {
            "kind": "enumerated",
            "noise": noise,
            "lam": lam,
            "grid": grid,
            "offsets": "0" if grid else None,
            "on_grid": on_grid,
            "copies": copies,
            "counts": list(counts),
            "invalid": invalid,
            "top": top,
            "classes": None,
        },
    }


@pytest.mark.parametrize("noise", ["columns(1, 0.0)", "blocks(1, 0.0)", "blocks(2, 0.5)", "columns(2, 0.0)"])
@pytest.mark.parametrize("side", [0, 1, 2, 3])
def test_bands_by_counting_which_ones_a_patch_meets(noise, side):
    kind, band = noise.split("(")[0], int(noise.split("(")[1][0])
    places = range(4)

    def shown(start):
        return {(start + k) % 4 for k in range(band)}

    def meets(patch, starts):
        return all(shown(s) & set(p) for p, s in zip(patch, starts, strict=True))

    spans = [range(s, s + side) for s in range(4 - side + 1)]
    if kind == "columns":
        copies = 4
        worst = max(sum(meets((span,), (s,)) for s in places) for span in spans) if side else 0
    else:
        copies = 16
        pairs = list(itertools.product(spans, spans))
        worst = max(sum(meets(pair, at) for at in itertools.product(places, places)) for pair in pairs) if side else 0
    for ours in range(copies + 1):
        theirs = copies - ours
        truth = ours - theirs >= 2 * worst
        assert accepted(exact(noise, side, [ours, theirs], copies), check=check_enumerated) is truth
        # with the larger label ours, a tie is theirs
        truth = ours - theirs - 1 >= 2 * worst
        assert accepted(exact(noise, side, [theirs, ours], copies, top=1), check=check_enumerated) is truth


def test_derandomised_splitting_holds_for_real_moves():
    """Each element is moved just beyond its next threshold: half a step, and one copy has changed."""
    honest = exact("splitting-derandomized", "5/255", [265, 245], 510, lam="1", grid=255)
    assert accepted(honest, check=check_enumerated)  # margin 20: ten copies, ten half steps
    honest["claim"]["radius"] = "5/255"
    for radius, truth in (("10999/510000", True), ("11/510", False)):
        honest["claim"]["radius"] = radius
        assert accepted(honest, check=check_enumerated) is truth
    # 16 elements in all: from margins of more than 16 copies on, d/2 is the better bound
    honest = exact("splitting-derandomized", "92/255", [355, 155], 510, lam="1", grid=255)
    assert accepted(honest, check=check_enumerated)
    honest["claim"]["radius"] = "93/255"
    assert not accepted(honest, check=check_enumerated)
    off = exact("splitting-derandomized", "84/255", [355, 155], 510, lam="1", grid=255, on_grid=False)
    assert accepted(off, check=check_enumerated)
    off["claim"]["radius"] = "85/255"
    assert not accepted(off, check=check_enumerated)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("evidence", "copies", 17),
        ("evidence", "invalid", 1),
        ("evidence", "counts", [17, 0]),
        ("evidence", "counts", [17, -1]),
        ("evidence", "counts", [16.0, 0]),
        ("evidence", "top", 1),
        ("evidence", "noise", "blocks(5, 0.0)"),
        ("evidence", "noise", "blocks(0, 0.0)"),
        ("evidence", "noise", "columns(1, 0.0)"),
        ("evidence", "noise", "splitting"),
        ("evidence", "grid", 255),
        ("evidence", "on_grid", False),
        ("evidence", "extra", 1),
        ("claim", "radius", "4"),
        ("claim", "radius", "3/2"),
        ("claim", "radius", "0"),
        ("claim", "semantics", "sampled"),
        ("claim", "guarantee", {"kind": "probabilistic", "alpha": "1/1000"}),
        ("claim", "function", "f"),
        ("threat", "side", 2),
        ("threat", "side", -1),
        ("threat", "kind", "l0"),
    ],
)
def test_lies_about_exact_votes(part, field, value):
    honest = exact("blocks(1, 0.0)", 1, [16, 0], 16)
    assert accepted(honest, check=check_enumerated)
    honest[part][field] = value
    with pytest.raises(Rejection):
        check_enumerated(honest, ZEROS, SHAPE)


def test_a_patch_needs_an_image():
    flat = {"center": Tensor("F32", (1, 16), struct.pack("<16f", *[0.0] * 16))}
    with pytest.raises(Rejection, match="image"):
        check_enumerated(exact("columns(1, 0.0)", 1, [16, 0], 16), flat, (1, 16))
