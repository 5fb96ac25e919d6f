"""The answer in one sentence, and what was asked, in plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

from markupsafe import Markup

from unmoved.core import decimal_down
from unmoved.evaluate import View
from unmoved.report import words
from unmoved.report.limits import false_certificates
from unmoved.report.tables import Line

MOST_LABELS = 20

METHODS = {
    "auto": "cascade: interval bounds, then linear bounds; the first proof ends it",
    "cascade": "interval bounds, then linear bounds; the first proof ends it",
    "interval": "interval bounds",
    "zonotope": "zonotope bounds (DeepZ)",
    "intersection": "zonotope and interval bounds, met at every tensor",
    "lipschitz": "the margin at the input against a Lipschitz constant",
    "milp": "a mixed-integer program (HiGHS); proofs by branch and bound",
    "smt": "satisfiability (z3); proofs by branch and bound",
    "sdp": "a semidefinite relaxation; proofs by branch and bound",
    "linear": "backward linear bounds (CROWN)",
    "smoothing": "randomised smoothing (Cohen, Rosenfeld and Kolter 2019)",
    "pgd": "projected gradient descent (an attack: it can only falsify)",
    "attack-quick": "attacks: PGD and annealed descent",
    "attack-standard": "attacks from cheap to dear: PGD, annealed descent, APGD on cross-entropy and on each class",
    "attack-thorough": "attacks from cheap to dear: PGD, annealed descent, APGD, FAB, and one without gradients",
    "smoothed-pgd": "gradient descent on the smoothed model (an attack: it can only falsify)",
}


def answer(line: Line, *, picture: bool) -> Markup:
    """Return what one line says, as one or two sentences: every input of it is accounted for."""
    view, run, share = line.view, line.results.run, line.certified
    size = words.exact(line.radius) if line.radius else "some r > 0" if view.function == "g" else "0"
    told = words.change(view.norm, size, picture=picture, clip=view.clip)
    model, data = words.plain(run.model_name), words.plain(run.data_name)
    if share is None:
        stand = line.attacked
        left = "" if stand is None else f"{words.count(stand.count)} of {words.count(stand.total)}"
        said = Markup("<b>{}</b> inputs of {} were left standing by an attack on {} with {}. Nothing is proved.")
        return said.format(left, data, model, told)
    unchecked = line.summary.checks.unchecked
    claimed = "is claimed, without an independent check, to keep" if unchecked else "is proved to keep"
    sure, whose = "", f"{model} {claimed}"
    if view.function == "g":
        alpha, _, _ = false_certificates(view)
        whose = f"{model}, smoothed with {_noise(run.settings)}, {claimed if unchecked else 'keeps'}"
        least = decimal_down(100 * (1 - alpha), 4).rstrip("0").rstrip(".")
        sure = f", each certified with probability at least {least} %"
    head = Markup(
        "On <b>{} of {}</b> inputs of {} ({}; at least {} with 95 % confidence), {} the right answer under {}{}."
    )
    text = head.format(
        words.count(share.count),
        words.count(share.total),
        data,
        words.percent_down(share.value),
        words.percent_down(share.low),
        whose,
        told,
        sure,
    )
    said = text + Markup(" ") + _rest(line)
    return Markup(said.replace(" %", "\N{NO-BREAK SPACE}%"))


def _noise(settings: Mapping[str, str]) -> str:
    """Return the noise in words."""
    kind = words.plain(settings.get("noise", "gaussian-grid"))
    if "sigma" not in settings:
        return f"{kind}, all copies counted"
    size = _number(words.plain(settings["sigma"]))
    return f"Gaussian noise of σ = {size}" if kind == "gaussian-grid" else f"{kind} noise of scale {size}"


def _rest(line: Line) -> Markup:
    fate = line.settled
    parts = [
        (fate.wrong, "wrong before any change"),
        (fate.broken, "broken by an attack"),
        (fate.abstained, "without an answer (abstained)"),
        (fate.open, "neither proved nor broken"),
    ]
    said = [f"{words.count(number)} {'is' if number == 1 else 'are'} {text}" for number, text in parts if number]
    rest = f"Of the others, {_listed(said)}." if said else "That is all of them."
    return Markup.escape(rest if line.attacked is not None else f"{rest} No attack was run.")


def asked(view: View, line: Line, *, picture: bool, size: int | None) -> list[tuple[str, str]]:
    """Return what was asked in a view, as terms and texts."""
    run = line.results.run
    sizes = [words.exact(each.eps) for each in view.certify or view.attacks if each.eps]
    told = words.change(view.norm, "ε" if sizes else "r", picture=picture, clip=view.clip)
    extent = f"ε = {', '.join(dict.fromkeys(sizes))}" if sizes else "r as large as can be certified"
    whom = "f, the model itself" if view.function == "f" else "g, the majority answer of the model under noise"
    found = [
        ("question", "Does the right answer hold, whatever the change?"),
        ("function", whom),
        ("threat", told if view.norm is None else f"{told}; {extent}"),
        ("inputs", _inputs(view, line, size)),
        ("labels", _labels(line)),
        ("method", METHODS.get(run.method, words.plain(run.method))),
    ]
    if view.norm == "inf" and view.clip and picture and [Fraction(end) for end in view.clip] == [0, 1]:
        grey = [decimal_down(Fraction(s) * 255, 1) for s in dict.fromkeys(each.run.eps for each in view.certify) if s]
        if grey:
            found.insert(3, ("in grey levels", f"ε = {', '.join(grey)} of 255"))
    if view.function == "g" and view.certify:
        settings = run.settings
        told = ", ".join(f"{name} {_number(words.plain(settings[key]))}" for name, key in _SMOOTHING if key in settings)
        found += [("sampling", told), ("seed, sampler", f"{run.seed}, Philox 4x32-10 on the grid")]
        alpha = words.exact(false_certificates(view)[0])
        found.append(("guarantee", f"probability at least 1 − α an input, α = {alpha}"))
    elif view.certify:
        spoken = "in exact real arithmetic"
        if view.semantics != "real":
            spoken = f"of every float32 execution, whatever the order of its sums ({words.plain(view.semantics)})"
        found.append(("guarantee", f"deterministic: a proof, {spoken}"))
    return found


_SMOOTHING = (("σ", "sigma"), ("n", "samples"), ("n₀", "selection_samples"), ("α", "alpha"), ("bound", "bound"))


def _inputs(view: View, line: Line, size: int | None) -> str:
    run = view.first
    dimension = "" if size is None else f" of {words.count(size)} values"
    return f"{words.count(line.summary.total)}{dimension}, from {words.plain(run.data_name)}"


def _labels(line: Line) -> str:
    """Say which labels the sample holds, and how often: a sample of a few classes must not pass for the data set."""
    found = sorted(Counter(row.label for row in line.results.rows).items())
    if len(found) > MOST_LABELS:
        return f"{len(found)} different ones"
    return ", ".join(f"{label} ({number} times)" for label, number in found)


def _number(text: str) -> str:
    try:
        return words.exact(Fraction(text))
    except (ValueError, ZeroDivisionError):
        return text


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
