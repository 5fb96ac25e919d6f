"""Are the field's own logs reproduced to the printed digit by `unmoved audit`?

    python benchmarks/audit_logs.py LOGS_DIR

LOGS_DIR holds logs and reference.json: {log: {figure: value}}. Every figure that both know is compared digit by digit:
ours is exact and is rounded to the nearest at as many decimals as the reference shows. Prints a table (log, figure,
ours, reference, equal?), writes benchmarks/results/audit_logs.json, and exits with 1 if anything differs.
"""

import json
import math
import platform
import subprocess
import sys
import time
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from unmoved.evaluate.audit import audit
from unmoved.evaluate.flags import overstated
from unmoved.evaluate.inference import Setting
from unmoved.evaluate.ladder import printed
from unmoved.record.tsv import ABSTAINED, read_log

RESULTS = Path(__file__).parent / "results"
PARITY_SAMPLES = 100_000


def figures(found):
    """Every figure of the reference, from our audit, as exact numbers."""
    rows, result = len(found.rows), {}
    for text in (f"{quarter / 4:.2f}" for quarter in range(17)):
        share = found.certified_at(Fraction(text))
        result["certified_accuracy_count", text] = Fraction(share.count)
        result["certified_accuracy", text] = share.value
    kinds = {flag.kind: len(flag.lines) for flag in found.flags}
    return result | {
        ("n",): Fraction(rows),
        ("ACR",): found.mean_radius,
        ("ACR_sum",): found.mean_radius * rows,
        ("abstention_rate",): found.abstained.value,
        ("abstain_count",): Fraction(found.abstained.count),
        ("correct_col_mismatch",): Fraction(kinds.get("correct-column", 0)),
        ("abstain_with_nonzero_radius",): Fraction(kinds.get("abstained-radius", 0)),
        ("max_radius",): found.max_radius,
        ("median_time_s",): found.median_seconds,
        ("total_time_h",): found.seconds / 3600,
    }


def flattened(reference):
    for key, value in reference.items():
        if isinstance(value, dict) and key != "published_table":
            yield from (((key, inner), number) for inner, number in value.items())
        elif isinstance(value, Decimal):
            yield (key,), value


def at_the_same_digits(ours, reference):
    # the reference is a float's shortest text: its decimals are what was printed
    places = max(0, -reference.as_tuple().exponent)
    scaled = (Decimal(ours.numerator) / Decimal(ours.denominator)).quantize(
        Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN
    )
    # sixteen digits or more are a float written out, whose last digit is its own rounding error
    noise = len(reference.as_tuple().digits) > 15 and abs(float(ours) - float(reference)) <= math.ulp(float(reference))
    return scaled, scaled == reference or noise


def alpha(found, wanted):
    """Whether the alpha is found; where radii alone do not settle it, whether every one of them is possible with it."""
    best = found.inference.best
    if wanted is None:
        # the reference does not know it either: nothing to compare
        return ("not settled" if best is None else f"{best.setting.alpha:g}"), None
    if best is not None:
        return f"{best.setting.alpha:g} ({best.probability:.4f} sure)", best.setting.alpha == float(wanted)
    answered = [r.radius_text for r in found.rows if r.predict != ABSTAINED]
    radii, sigma = printed(answered), found.inference.named_sigma
    setting = Setting(sigma, PARITY_SAMPLES, float(wanted), "one-class", "nearest")
    over = overstated(radii, setting.ladder, sigma)
    possible = bool((over <= radii.units / 2 + 1e-9).all())
    share = found.inference.marginals["alpha"].get(float(wanted), 0.0)
    return f"not settled; {wanted} ({share:.4f}) {'is' if possible else 'is NOT'} consistent", possible


def compare(folder):
    reference = json.loads((folder / "reference.json").read_text(), parse_float=Decimal, parse_int=Decimal)
    for name, known in reference.items():
        if name.startswith("_"):
            continue
        start = time.perf_counter()
        found = audit(read_log(folder / name))
        seconds = time.perf_counter() - start
        ours = figures(found)
        yield name, "sha256", found.sha256, known["sha256"], found.sha256 == known["sha256"], seconds
        for key, value in flattened(known):
            if key in ours:
                shown, equal = at_the_same_digits(ours[key], value)
                yield name, " ".join(key), str(shown), str(value), equal, seconds
        text, equal = alpha(found, known["consistent_with_N1e5_alpha"])
        yield name, "alpha", text, str(known["consistent_with_N1e5_alpha"]), equal, seconds
        yield name, "sigma", *_sigma(found, known["sigma"]), seconds
        flags = "; ".join(f"{f.level}: {f.text}" for f in found.flags if f.level != "note")
        yield name, "flags", flags, "", None, seconds


def _sigma(found, wanted):
    sigma, sure = found.inference.likeliest("sigma")
    return f"{sigma:g} ({sure:.4f} sure)", str(wanted), Decimal(str(sigma)) == Decimal(wanted)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/audit_logs.py LOGS_DIR")
    lines = list(compare(Path(sys.argv[1])))
    table = Table(title="logs against reference.json; the curve is one line a log")
    for column in ("log", "figure", "ours", "reference", "equal?"):
        table.add_column(column, overflow="fold")
    for name in dict.fromkeys(line[0] for line in lines):
        mine = [line for line in lines if line[0] == name]
        curve = [line for line in mine if line[1].startswith("certified_accuracy")]
        equal = all(line[4] for line in curve)
        table.add_row(name, f"curve ({len(curve)} figures)", "", "", "yes" if equal else "NO")
        for _, figure, ours, reference, same, _ in mine:
            if not figure.startswith("certified_accuracy") or not same:
                table.add_row("", figure, ours, reference, {True: "yes", False: "NO", None: ""}[same])
    wide = Console(width=160)
    wide.print(table)
    compared = [line for line in lines if line[4] is not None]
    differ = [line for line in compared if not line[4]]
    logs = len({line[0] for line in lines})
    wide.print(f"{len(compared) - len(differ)} of {len(compared)} figures of {logs} logs equal")
    RESULTS.mkdir(exist_ok=True)
    result = {
        "commit": commit(),
        "machine": {"processor": processor(), "system": platform.system(), "arch": platform.machine()},
        "versions": {"python": platform.python_version()} | {p: version(p) for p in ("numpy", "scipy")},
        "logs": logs,
        "compared": len(compared),
        "equal": len(compared) - len(differ),
        "seconds_a_log": {line[0]: round(line[5], 2) for line in lines},
        "lines": [{"log": n, "figure": f, "ours": o, "reference": r, "equal": e} for n, f, o, r, e, _ in lines],
    }
    (RESULTS / "audit_logs.json").write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(1 if differ else 0)


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def commit():
    head = git("rev-parse", "HEAD")
    return "unknown" if head is None else head + ("+changes" if git("status", "--porcelain", "-uno") else "")


def git(*arguments):
    try:
        found = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


if __name__ == "__main__":
    main()
