"""`unmoved check --resample K`: draw copies of smoothing certificates again, and say what that supports."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from unmoved.cli import console
from unmoved.cli.check import SHOWN, certificates
from unmoved.cli.stores import find_store
from unmoved.core import UsageError, decimal_down, float_down
from unmoved.ir import Network
from unmoved.loaders import load
from unmoved.record import Voted, read_votes
from unmoved.smooth.classifiers.resample import DELTA, SpotCheck, spot_check
from unmoved.smooth.methods.method import classifier
from unmoved.smooth.voting.engine import precision_of
from unmoved_check.bundle import read
from unmoved_check.check import Checker
from unmoved_check.cli import Misuse, bundles


@dataclass(frozen=True)
class Bundle:
    """A certificate's name, its bytes and its model's."""

    name: str
    manifest: bytes
    payload: bytes
    model: bytes


@dataclass(frozen=True)
class Answer:
    """What came of one certificate: the check of its evidence as it stands, and of the copies drawn again."""

    name: str
    claimed: Fraction
    accepted: bool
    text: str
    spot: SpotCheck | None

    @property
    def good(self) -> bool:
        """Whether the certificate was accepted, and no copy got another class."""
        return self.accepted and self.spot is not None and not self.spot.mismatches

    @property
    def supported(self) -> float:
        """The radius that the copies drawn again support, no more than was claimed."""
        return 0.0 if self.spot is None else min(self.spot.radius, float_down(self.claimed))


def resample_command(text: str, redraw: int, *, model: Path | None, limit: int | None, as_json: bool) -> int:
    """Check each smoothing certificate, draw `redraw` of its copies again; return 0 only if nothing differs."""
    if redraw < 1:
        raise UsageError("resample", redraw, "a number of copies >= 1")
    seed = secrets.randbits(64)
    answers: list[Answer] = []
    with console.bar("drawing again") as move:
        for bundle in _all(text, model):
            voted = read_votes(bundle.manifest, bundle.payload)
            if voted is not None:
                answers.append(_answer(bundle, voted, redraw, seed + len(answers)))
                move(len(answers), limit)
            if limit is not None and len(answers) >= limit:
                break
    if not answers:
        raise UsageError("path", text, "smoothing certificates to draw again: there are none")
    _show(answers, seed, as_json)
    return console.OK if all(answer.good for answer in answers) else console.NOT_MET


def _answer(bundle: Bundle, voted: Voted, redraw: int, seed: int) -> Answer:
    outcome = _checker(bundle.model).check(bundle.manifest, bundle.payload)
    if not outcome.accepted:
        return Answer(bundle.name, voted.radius, False, str(outcome), None)
    x, engine = voted.center.astype(np.float32), classifier(_network(bundle.model), precision_of(voted.engine))
    spot = spot_check(voted.evidence, x, engine, redraw=redraw, seed=seed, norm=voted.norm, batch=engine.batch)
    return Answer(bundle.name, voted.radius, True, str(outcome), spot)


def _show(answers: list[Answer], seed: int, as_json: bool) -> None:
    good = sum(answer.good for answer in answers)
    if as_json:
        listed = [
            {"certificate": a.name, "claimed": str(a.claimed), "accepted": a.accepted, "text": a.text}
            | {"supported": a.supported, "redrawn": None if a.spot is None else asdict(a.spot)}
            for a in answers
        ]
        summary = {"good": good, "of": len(answers), "confidence": str(1 - DELTA), "auditor_seed": str(seed)}
        console.emit(json.dumps(summary | {"results": listed}, indent=2))
        return
    for a in sorted(answers, key=lambda answer: answer.good)[:SHOWN]:
        if a.spot is None:
            console.line(f"{a.name}: {a.text}", style="red")
            continue
        drawn = f"{a.spot.redrawn} of {a.spot.recorded} copies drawn again, {a.spot.mismatches} of another class"
        radii = f"radius {decimal_down(a.supported, 3)} of {decimal_down(a.claimed, 3)} supported"
        console.line(f"{a.name[:24]}: {drawn}; {radii} at {1 - DELTA:.0%}", style="" if a.good else "red")
    text = f"{good} of {len(answers)} certificates stand (copies chosen by auditor's seed {seed})"
    console.line(text, style="green" if good == len(answers) else "bold red")


def _all(text: str, model: Path | None) -> Iterator[Bundle]:
    store = find_store(text)
    if store is not None:
        for network, manifest, payload in dict.fromkeys(certificates(store)):
            data = store.read("manifest", manifest), store.read("payload", payload)
            yield Bundle(manifest, *data, store.read("model", network))
        return
    try:
        for place in bundles(Path(text)):
            files = read(place)
            yield Bundle(place.stem, files.manifest, files.payload, files.model or _beside(place, model))
    except (Misuse, OSError) as error:
        raise UsageError("path", text, "a bundle, a folder of bundles, or a store") from error


def _beside(place: Path, model: Path | None) -> bytes:
    here = place.resolve().parent
    for candidate in (model, here / "model.onnx", here.parent / "model.onnx"):
        if candidate is not None and candidate.is_file():
            return candidate.read_bytes()
    raise UsageError("model", str(place), "--model FILE: the bundle has none, and there is none beside it")


@lru_cache(maxsize=2)
def _checker(model: bytes) -> Checker:
    return Checker(model)


@lru_cache(maxsize=2)
def _network(model: bytes) -> Network:
    return load(model)
