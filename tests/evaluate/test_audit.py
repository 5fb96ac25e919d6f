"""Synthetic logs whose N, alpha and sigma are known; bounds from scipy's beta quantiles, figures by hand."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from unmoved.core import UsageError
from unmoved.core.errors import LoadError
from unmoved.evaluate.audit import audit
from unmoved.evaluate.inference import sigma_named
from unmoved.evaluate.ladder import ladder
from unmoved.record.tsv import clock, read_log

HEAD = "idx\tlabel\tpredict\tradius\tcorrect\ttime"


def votes(rows, n, *, seed=0, easy=0.25):
    """Counts of the top class: most inputs somewhere, a share of them (nearly) unanimous."""
    rng = np.random.default_rng(seed)
    p = stats.norm.cdf(rng.uniform(-0.3, 3.6, rows))
    return rng.binomial(n, np.where(rng.random(rows) < easy, 1.0, p))


def exact_radii(k, n, alpha, sigma):
    low = np.where(k > 0, stats.beta.ppf(alpha, np.maximum(k, 1), n - k + 1), 0.0)
    return np.where(low > 0.5, sigma * stats.norm.ppf(low), -1.0)


def write(path, lines, *, head=HEAD, end="\n"):
    path.write_text(end.join([head, *lines]) + end, newline="")
    return path


def line(index, label=1, predict=1, radius="0.5", correct=1, time="0:00:01.500000"):
    return f"{index}\t{label}\t{predict}\t{radius}\t{correct}\t{time}"


def synthetic(path, radii, show, *, stride=1):
    lines = [
        line(stride * i, 1, 1, show(r), 1)
        if r > 0
        else line(stride * i, 1, -1, show(0.0) if show is three else "0.0" + "0" * (len(show(0.5)) - 3), 0)
        for i, r in enumerate(radii)
    ]
    return write(path, lines)


def three(radius):
    return f"{radius:.3}"


def kinds(found, *levels):
    return [flag.kind for flag in found.flags if not levels or flag.level in levels]


@pytest.mark.parametrize(
    ("n", "alpha", "sigma"), [(100_000, 0.01, 0.25), (100_000, 0.001, 0.12), (10_000, 0.001, 0.5), (1000, 0.05, 1.0)]
)
def test_the_setting_of_a_log_is_found_from_its_radii(tmp_path, n, alpha, sigma):
    path = synthetic(tmp_path / "log.tsv", exact_radii(votes(500, n), n, alpha, sigma), lambda r: f"{r:.4f}")
    best = audit(read_log(path)).inference.best
    assert best is not None and best.unmatched == 0
    assert (best.setting.samples, best.setting.alpha, best.setting.sigma) == (n, alpha, sigma)
    assert (best.setting.bound, best.setting.rounding) == ("one-class", "nearest")


def test_three_significant_digits_are_enough_when_the_name_says_sigma(tmp_path):
    radii = exact_radii(votes(500, 100_000), 100_000, 0.01, 0.25)
    found = audit(read_log(synthetic(tmp_path / "cifar_s0.25.tsv", radii, three, stride=20)))
    assert found.inference.named_sigma == 0.25
    assert found.inference.best is not None
    assert (found.inference.best.setting.samples, found.inference.best.setting.alpha) == (100_000, 0.01)
    assert kinds(found) == ["rounded-to-nearest", "alpha"]


def test_radii_at_random_settle_nothing(tmp_path):
    radii = np.random.default_rng(3).uniform(0.001, 0.95, 500)
    found = audit(read_log(synthetic(tmp_path / "log.tsv", radii, lambda r: f"{r:.4f}")))
    assert found.inference.best is None
    assert kinds(found) == ["size-unknown"]


@pytest.mark.parametrize(("n", "alpha", "sigma"), [(30_000, 0.001, 0.5), (100_000, 0.003, 0.5), (100_000, 0.001, 0.37)])
def test_an_uncommon_setting_is_not_taken_for_a_common_one(tmp_path, n, alpha, sigma):
    radii = exact_radii(votes(300, n), n, alpha, sigma)
    found = audit(read_log(synthetic(tmp_path / "log.tsv", radii, lambda r: f"{r:.4f}")))
    assert found.inference.best is None and kinds(found, "serious", "minor") == []


def test_two_class_radii_are_recognised(tmp_path):
    n, alpha, sigma, rng = 1000, 0.001, 0.25, np.random.default_rng(5)
    k = votes(400, n)
    rival = rng.binomial(n - k, 0.6)
    low = stats.beta.ppf(alpha / 2, k, n - k + 1)
    high = np.minimum(stats.beta.ppf(1 - alpha / 2, rival + 1, np.maximum(n - rival, 1)), 1 - low)
    radii = sigma / 2 * (stats.norm.ppf(low) - stats.norm.ppf(high))
    found = audit(read_log(synthetic(tmp_path / "log.tsv", radii, lambda r: f"{max(0, r - 5e-7):.6f}")))
    assert found.inference.best is not None
    setting = found.inference.best.setting
    assert (setting.samples, setting.alpha, setting.sigma, setting.bound) == (n, alpha, sigma, "two-class")
    assert kinds(found, "serious", "minor") == []


def test_the_ladder_is_the_closed_form():
    for n, alpha in ((100, 0.001), (100_000, 0.01)):
        top = ladder(n, alpha, "one-class").rungs[-3:]
        assert top == pytest.approx(exact_radii(np.array([n - 2, n - 1, n]), n, alpha, 1.0), abs=1e-9)
        # unanimous: both bounds meet at (alpha/2)^(1/n)
        assert ladder(n, alpha, "two-class").top == pytest.approx(stats.norm.ppf((alpha / 2) ** (1 / n)), abs=1e-9)


@pytest.mark.parametrize(
    ("shift", "level", "found_kinds"),
    [
        (0.0, None, []),
        (0.5, "minor", ["rounded-to-nearest"]),
        (1.0, "serious", ["rounded-up", "rounded-to-nearest"]),
    ],
)
def test_roundings(tmp_path, shift, level, found_kinds):
    exact = exact_radii(votes(500, 100_000), 100_000, 0.001, 0.25)

    def show(radius):
        return f"{np.floor(radius * 1e4 + shift) / 1e4:.4f}"

    found = audit(read_log(synthetic(tmp_path / "log.tsv", exact, show)))
    assert kinds(found, "serious", "minor") == found_kinds
    if level:
        # a line is flagged only if its radius is above the exact one, and the unanimous ones are flagged where they are
        flag = found.flags[0]
        above = {i + 2 for i, r in enumerate(exact) if r > 0 and float(show(r)) > r}
        assert flag.level == level and set(flag.lines) <= above
        top = max(exact)
        half = 0.5e-4 if level == "serious" else 0.0
        if float(show(top)) - top > half:
            assert {i + 2 for i, r in enumerate(exact) if r == top} <= set(flag.lines)


def test_a_single_radius_that_no_vote_gives_is_named_with_its_line(tmp_path):
    exact = exact_radii(votes(300, 100_000), 100_000, 0.001, 0.25)
    exact[10] = 1.2
    exact[20] = 0.944
    found = audit(read_log(synthetic(tmp_path / "log.tsv", exact, lambda r: f"{np.floor(r * 1e4) / 1e4:.4f}")))
    assert {flag.kind: flag.lines for flag in found.serious} == {"too-large": (12,), "impossible": (22,)}


def test_figures_by_hand(tmp_path):
    lines = [
        line(0, 1, 1, "0.25", 1, "2.5"),
        line(1, 1, 1, "0.249", 1, "0:00:01.5"),
        line(2, 1, 2, "0.9", 0, "1:00:00"),
        line(3, 1, -1, "0.0", 0, "1 day, 0:00:00.25"),
    ]
    found = audit(read_log(write(tmp_path / "log.tsv", lines, end="\r\n")), data_size=4)
    assert found.clean.value == Fraction(1, 2) and found.abstained.count == 1
    assert [(point.radius, point.share.count) for point in found.curve] == [(0, 2), (Fraction(1, 4), 1)]
    assert found.mean_radius == Fraction("0.499") / 4 and found.max_radius == Fraction("0.9")
    assert found.seconds == Fraction("90004.25") and found.median_seconds == 3600
    assert found.flags == ()


@pytest.mark.parametrize(
    ("lines", "kind", "at"),
    [
        ([line(0), line(1), line(1)], "duplicate", (3, 4)),
        ([line(0), line(1, 2, 1, "0.5", 1)], "correct-column", (3,)),
        ([line(0), line(1, 1, 1, "0.5", 0)], "correct-column", (3,)),
        ([line(0), line(1, 1, -1, "0.5", 0)], "abstained-radius", (3,)),
        ([line(0), line(1, 1, 1, "nan")], "not-finite", (3,)),
        ([line(0), line(1, 1, 1, "inf")], "not-finite", (3,)),
        ([line(0), line(1, 1, 1, "-0.5")], "negative", (3,)),
        ([line(0), line(1), line(3)], "partial", ()),
        ([line(i) for i in range(0, 9000, 100)], "partial", ()),
    ],
)
def test_serious_flags(tmp_path, lines, kind, at):
    found = audit(read_log(write(tmp_path / "log.tsv", lines)))
    assert [(flag.kind, flag.lines) for flag in found.serious] == [(kind, at)]


def test_figures_do_not_trust_the_column_correct_nor_radii_that_are_none(tmp_path):
    lines = [line(0, 2, 1, "0.5", 1), line(1, 1, 1, "nan"), line(2, 1, 1, "-3"), line(3, 1, -1, "9", 1)]
    found = audit(read_log(write(tmp_path / "log.tsv", lines)))
    assert found.mean_radius == 0 and found.curve[0].share.count == 0 and found.clean.count == 2


@pytest.mark.parametrize(
    ("name", "indices", "size", "expected", "missing"),
    [
        ("log.tsv", range(0, 42_700, 100), None, 500, 73),
        ("log.tsv", range(0, 50_000, 100), None, 500, 0),
        ("log.tsv", range(0, 10_000, 20), None, 500, 0),
        ("log.tsv", range(360), None, None, 0),
        ("log.tsv", range(360), 360, 360, 0),
        ("log.tsv", range(360), 1000, 1000, 640),
        ("mnist.tsv", range(360), None, 10_000, 9640),
        ("log.tsv", [i for i in range(0, 10_000, 20) if i != 400], None, 500, 1),
    ],
)
def test_partial_runs(tmp_path, name, indices, size, expected, missing):
    found = audit(read_log(write(tmp_path / name, [line(i) for i in indices])), data_size=size)
    assert (found.extent.expected, found.extent.missing) == (expected, missing)
    assert ("partial" in kinds(found, "serious")) == bool(missing)


def test_minor_flags(tmp_path):
    found = audit(read_log(write(tmp_path / "log.tsv", [line(1), line(0), line(2)])), data_size=3)
    assert [(flag.level, flag.kind, flag.lines) for flag in found.flags] == [("minor", "unsorted", (3,))]
    found = audit(read_log(write(tmp_path / "log.tsv", [line(0), line(3)])), data_size=3)
    assert kinds(found, "serious") == ["beyond"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: expected the header"),
        ("idx\tlabel\tpredict\tradius\tcorrect\n", "line 1: expected the header"),
        (HEAD + "\n", "no rows"),
        (HEAD + "\n0\t1\t1\t0.5\t1\t1.5\n1\t1\t1\t0.", "line 3: 4 fields"),
        (HEAD + "\n0\t1\t1\t0.5\t1\t1.5\n\n1\t1\t1\t0.5\t1\t1.5\n", "line 3: 1 fields"),
        (HEAD + "\n" + line("x"), "line 2: idx 'x'"),
        (HEAD + "\n" + line("-1"), "line 2: idx -1"),
        (HEAD + "\n" + line(0, predict="-2"), "line 2: predict -2"),
        (HEAD + "\n" + line(0, predict="1.0"), "line 2: predict '1.0'"),
        (HEAD + "\n" + line(0, radius="0,5"), "line 2: radius '0,5'"),
        (HEAD + "\n" + line(0, radius="1e999"), "line 2: radius"),
        (HEAD + "\n" + line(0, correct="True"), "line 2: correct 'True'"),
        (HEAD + "\n" + line(0, time="0:61:00"), "line 2: time '0:61:00'"),
        (HEAD + "\n" + line(0, time="-1"), "line 2: time '-1'"),
    ],
)
def test_malformed_logs_name_the_line(tmp_path, text, says):
    path = tmp_path / "log.tsv"
    path.write_text(text)
    with pytest.raises(LoadError, match=says):
        read_log(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LoadError, match="not a text file"):
        read_log(path)
    with pytest.raises(LoadError, match="cannot be read"):
        read_log(tmp_path / "none.tsv")


def test_arguments(tmp_path):
    log = read_log(write(tmp_path / "log.tsv", [line(0)]))
    for arguments in ({"sigma": 0.0}, {"sigma": float("nan")}, {"data_size": 0}):
        with pytest.raises(UsageError):
            audit(log, **arguments)


def test_logs_without_any_radius(tmp_path):
    found = audit(read_log(write(tmp_path / "log.tsv", [line(i, 1, -1, "0.0", 0) for i in range(3)])))
    assert found.mean_radius == 0 and found.inference.fits == () and found.abstained.value == 1


@pytest.mark.parametrize(
    ("name", "sigma"),
    [
        ("cifar10_s0.25.tsv", 0.25),
        ("noise_0.50_1801", 0.5),
        ("sigma_0.12", 0.12),
        ("sigma=1.tsv", 1.0),
        ("resnet50_v2.tsv", None),
        ("runs_2.tsv", None),
    ],
)
def test_sigma_in_names(name, sigma):
    assert sigma_named(name) == sigma


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00.000000"), (3661.5, "1:01:01.500000"), (1e-6, "0:00:00.000001")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text
