"""What a report does not prove, said on the report itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from unmoved.core import decimal_up
from unmoved.evaluate import View, summarise
from unmoved.evaluate.obfuscation import Obfuscation
from unmoved.report import words


@dataclass(frozen=True)
class Limit:
    """One thing that is not proved: a few words, and a sentence. `loud` ones are also said at the top of the page."""

    lead: str
    text: str
    loud: bool = False


def limits(views: Sequence[View]) -> list[Limit]:
    """Return what the reader must not take from these views; unchecked certificates come first."""
    proofs = [view for view in views if view.certify]
    found = unchecked(views)
    if not proofs:
        found.append(
            Limit("Nothing is proved", "Only attacks were run: that an attack finds nothing proves nothing.", True)
        )
    if any(view.function == "f" for view in proofs):
        found.append(_arithmetic({view.semantics for view in proofs if view.function == "f"}))
    if any(view.function == "g" for view in proofs):
        found += _smoothed(proofs)
    return [*found, *_always(views)]


def misled(found: Sequence[Obfuscation]) -> list[Limit]:
    """Return what was seen of gradients that mislead attacks: loud where a sign warns."""
    limits = []
    for each in found:
        about = f"{words.plain(each.threat)}, {words.count(each.inputs)} inputs"
        if each.warnings:
            signs = "; ".join(sign.text for sign in each.warnings)
            text = f"Attacked accuracy may be far too high ({about}): {signs}. Certificates are not touched by this."
            limits.append(Limit("Gradients seem to mislead the attacks", text, True))
        else:
            kinds = ", ".join(sign.kind for sign in each.signs)
            text = f"None of the signs of it was seen ({about}: {kinds}). That proves nothing: only certificates do."
            limits.append(Limit("That attacks were not misled by gradients", text))
    return limits


def unchecked(views: Sequence[View]) -> list[Limit]:
    """Return one loud limit when certificates were let through that the independent checker has not accepted."""
    number = sum(row.unchecked for view in views for results in view.all for row in results.rows)
    if not number:
        return []
    said = "1 certificate was" if number == 1 else f"{words.count(number)} certificates were"
    text = (
        f"{said} let through without an independent check (--unchecked). They rest on the program that made them alone."
    )
    return [Limit("Not re-checked", text, True)]


def false_certificates(view: View) -> tuple[Fraction, int, str]:
    """Return alpha, the number of inputs m, and the bound alpha m on the expected number of wrong ones, rounded up."""
    rows = view.certify[0].rows
    told = view.certify[0].run.settings.get("alpha") or next(
        (row.details["alpha"] for row in rows if "alpha" in row.details), "1"
    )
    alpha = Fraction(str(told))
    return alpha, len(rows), decimal_up(alpha * len(rows), 2)


def _arithmetic(spoken: set[str]) -> Limit:
    """Return what proofs in these semantics leave out of the deployed arithmetic."""
    parts = []
    if "real" in spoken:
        parts.append(
            "Proofs about f speak of exact real arithmetic on the stored weights. Deployed float32 rounds, and may "
            "differ where outputs are nearly tied (--semantics float32-any-order proves that, too)."
        )
    for name in sorted(spoken - {"real"}):
        cores = " on tensor cores in TF32" if name.endswith(":tf32") else ""
        parts.append(
            f"Proofs about f in {words.plain(name)} hold of every float32 execution{cores}, whatever the order of its "
            "sums; not of Winograd or FFT convolutions, of sums in fewer bits, of quantised or re-stored weights."
        )
    return Limit(
        "The arithmetic of the device",
        " ".join([*parts, "Witnesses were confirmed in exact arithmetic and in onnxruntime."]),
    )


def _smoothed(proofs: Sequence[View]) -> list[Limit]:
    view = next(view for view in proofs if view.function == "g")
    alpha, inputs, expected = false_certificates(view)
    return [
        Limit(
            "That f itself is stable",
            "A smoothing certificate speaks of g, the majority answer of f under noise. It says nothing of f without "
            "noise: whoever relies on it must deploy g.",
        ),
        Limit(
            "Certainty",
            f"Each certificate about g holds with probability at least 1 − α over the sampling, α = "
            f"{words.exact(alpha)} an input. Among {words.count(inputs)} inputs, α · m ≤ {expected} false ones are to "
            "be expected at most. No correction over the whole set was made.",
        ),
        Limit(
            "The seed",
            "That nobody tried many seeds and kept the best cannot be proved from a certificate; nor that the Philox "
            "generator behaves like fair coins. Seed and sampler are recorded: any sample can be drawn again.",
        ),
    ]


def _always(views: Sequence[View]) -> list[Limit]:
    wide = max((summarise(r.rows).clean for view in views for r in view.all), key=lambda s: s.high - s.low)
    half = decimal_up(Fraction(wide.high - wide.low) * 50, 1)
    return [
        Limit(
            "Other inputs",
            "A certificate is about one input. Accuracies are of this sample; the 95 % intervals (here up to "
            f"± {half} points) carry to inputs drawn in the same way, and to no others.",
        ),
        Limit("Anything beyond the radius", "Past the certified radius a certificate does not fade: it is void."),
        Limit(
            "Other threats",
            "Rotations, blur, weather, patches, poisoned training data, stolen models: only the changes named here "
            "were considered.",
        ),
        Limit(
            "That the answer is right",
            "A certificate says that the answer does not move. That it is the label was compared with the data set, "
            "whose labels are taken as they are.",
        ),
    ]
