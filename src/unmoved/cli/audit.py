"""`unmoved audit`: the figures of smoothing logs, how they were made, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from unmoved.cli import console
from unmoved.core import UsageError, rational
from unmoved.core.rounding import decimal_down, float_down
from unmoved.evaluate.audit import STEP, Audit, audit
from unmoved.evaluate.curves import ACR_CAVEAT
from unmoved.evaluate.flags import MINOR, SERIOUS, USUAL_ALPHA
from unmoved.evaluate.inference import Fit, Inference
from unmoved.evaluate.share import Share
from unmoved.record.tsv import read_log

STYLES = {SERIOUS: "bold red", MINOR: "yellow"}
WIDEST = 9
"""Columns of the curve that a terminal is given; --json has all."""


def audit_command(paths: Sequence[Path], *, sigma: str | None, data_size: int | None, as_json: bool) -> int:
    """Audit the logs and show them; return NOT_MET when a flag is serious, else OK."""
    noise = None if sigma is None else float(rational(sigma, "sigma"))
    if not paths:
        raise UsageError("log", "nothing", "one or more .tsv files")
    audits = []
    with console.bar("auditing") as move:
        for done, path in enumerate(paths):
            move(done, len(paths))
            audits.append(audit(read_log(path), sigma=noise, data_size=data_size))
        move(len(paths), len(paths))
    if as_json:
        console.emit(json.dumps({"logs": [audit_json(each) for each in audits]}, indent=2, allow_nan=False))
    else:
        _show(audits)
    return console.NOT_MET if any(each.serious for each in audits) else console.OK


def audit_json(found: Audit) -> dict[str, Any]:
    """Return an audit as data that `json` can write: counts, radii rounded down to float64, exact ones as text."""
    inference, size = found.inference, found.extent
    return {
        "log": found.name,
        "sha256": found.sha256,
        "rows": len(found.rows),
        "clean": _share(found.clean),
        "abstained": _share(found.abstained),
        "curve": [{"radius": float(point.radius), **_share(point.share)} for point in found.curve],
        "acr": float_down(found.mean_radius),
        "acr_exact": str(found.mean_radius),
        "max_radius": float_down(found.max_radius),
        "seconds": float(found.seconds),
        "median_seconds": float(found.median_seconds),
        "setting": None if inference.best is None else _setting(inference)[0],
        "alternatives": _setting(inference),
        "radii": {"distinct": inference.distinct, "printed": inference.style},
        "data": {
            "stride": size.stride,
            "first": size.first,
            "last": size.last,
            "size": size.size,
            "size_known": size.known,
            "expected": size.expected,
            "missing": size.missing,
        },
        "flags": [
            {"level": flag.level, "kind": flag.kind, "text": flag.text, "lines": list(flag.lines)}
            for flag in found.flags
        ],
    }


def _share(share: Share) -> dict[str, Any]:
    return {
        "count": share.count,
        "total": share.total,
        "share": float(share.value),
        "low": share.low,
        "high": share.high,
    }


def _setting(inference: Inference) -> list[dict[str, Any]]:
    return [
        {
            "sigma": fit.setting.sigma,
            "samples": fit.setting.samples,
            "alpha": fit.setting.alpha,
            "bound": fit.setting.bound,
            "rounding": fit.setting.rounding if inference.rounding else None,
            "probability": fit.probability,
            "matched": fit.matched,
            "telling": fit.telling,
            "unmatched": fit.unmatched,
        }
        for fit in inference.fits
    ]


def _show(audits: Sequence[Audit]) -> None:
    console.OUT.print(_figures(audits))
    console.OUT.print(_curves(audits))
    for number, each in enumerate(audits, start=1):
        console.OUT.print(Text(f"{number} {each.name}", style="bold"), soft_wrap=True)
        hours = decimal_down(each.seconds / 3600, 2)
        console.OUT.print(Text(f"  {_made(each.inference)}"), soft_wrap=True)
        console.OUT.print(Text(f"  largest radius {decimal_down(each.max_radius, 4)}, {hours} hours"), soft_wrap=True)
        for flag in each.flags:
            text = Text(f"  {flag.level}: ", style=STYLES.get(flag.level, "dim")).append(flag.text, style="default")
            if flag.level == SERIOUS and flag.lines:
                more = ", ..." if len(flag.lines) > 5 else ""
                text.append(f"; line {', '.join(map(str, flag.lines[:5]))}{more}", style="dim")
            console.OUT.print(text, soft_wrap=True)
    console.OUT.print(Text(ACR_CAVEAT, style="dim"))
    serious = [each.name for each in audits if each.serious]
    if serious:
        kinds = sorted({flag.kind for each in audits for flag in each.serious})
        console.fail(f"serious: {', '.join(kinds)}, in {', '.join(serious)}")


def _figures(audits: Sequence[Audit]) -> Table:
    table = Table(
        title="Logs, recomputed (shares and radii rounded down)", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    for name in ("#", "rows", "sigma", "N", "alpha", "sure", "clean %", "abst. %", "ACR"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, each in enumerate(audits, start=1):
        rows = f"{each.extent.distinct}" + (f"/{each.extent.expected}" if each.extent.missing else "")
        table.add_row(
            str(number),
            Text(rows, style=STYLES[SERIOUS] if each.extent.missing else ""),
            *_known(each.inference),
            _percent(each.clean),
            _percent(each.abstained),
            decimal_down(each.mean_radius, 4),
        )
    return table


def _known(inference: Inference) -> list[Text]:
    """Return sigma, N, alpha and how sure they are, each by itself where the whole is not settled."""
    if inference.best is None:
        return [Text("?", style="dim")] * 3 + [Text("no", style="dim")]
    setting = inference.best.setting
    unusual = "bold yellow" if setting.alpha != USUAL_ALPHA else ""
    sure = _probability(inference.best.probability)
    return [
        Text(f"{setting.sigma:g}"),
        Text(str(setting.samples)),
        Text(f"{setting.alpha:g}", style=unusual),
        Text(sure),
    ]


def _made(inference: Inference) -> str:
    """Return in a sentence what the radii say about how they were made."""
    radii = f"{inference.distinct} distinct radii, printed with {inference.style}"
    if not inference.fits:
        return f"{radii}: too few, or they fit no common N and alpha"
    best = inference.best
    if best is not None:
        return (
            f"{_named(best)}: {_probability(best.probability)} sure. {radii}{_rounded(inference)}: "
            f"{best.matched} match the ladder, {best.telling} of them tell, {best.unmatched} do not match"
        )
    open_fits = "; or ".join(
        f"{_named(fit)} ({_probability(fit.probability)})" for fit in inference.fits[:3] if fit.probability >= 0.01
    )
    return f"{radii}: N and alpha not settled" + (f": {open_fits}" if open_fits else "")


def _named(fit: Fit) -> str:
    setting = fit.setting
    # the same radii, when the last look has half of alpha
    looks = f" (or group-sequential, alpha = {2 * setting.alpha:g})" if setting.bound == "two-class" else ""
    return f"sigma {setting.sigma:g}, N = {setting.samples}, alpha = {setting.alpha:g}, {setting.bound}{looks}"


def _rounded(inference: Inference) -> str:
    words = {"nearest": ", rounded to nearest", "down": ", rounded down", "up": ", rounded up"}
    return words.get(inference.rounding or "", "")


def _probability(value: float) -> str:
    return ">99.9 %" if value > 0.999 else f"{decimal_down(100 * value, 1)} %"


def _curves(audits: Sequence[Audit]) -> Table:
    table = Table(
        title="Certified accuracy, % of all rows, at radius", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("#", justify="right", no_wrap=True)
    most = max(len(each.curve) for each in audits)
    step = STEP if most <= WIDEST else 2 * STEP
    radii = [step * k for k in range(min(WIDEST, int((most - 1) * STEP / step) + 1))]
    for radius in radii:
        table.add_column(f"{float(radius):g}", justify="right", no_wrap=True)
    for number, each in enumerate(audits, start=1):
        table.add_row(str(number), *(_percent(each.certified_at(radius)) for radius in radii))
    return table


def _percent(share: Share) -> str:
    return decimal_down(Fraction(100) * share.value, 1)
