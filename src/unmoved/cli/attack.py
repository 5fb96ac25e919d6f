"""`unmoved attack`: a run of attacks, the signs that gradients mislead them, and what they say of certificates."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from unmoved.cli import console
from unmoved.cli.stores import FILE
from unmoved.cli.work import Request, run_kept, show
from unmoved.core import UsageError
from unmoved.evaluate import read_results, views
from unmoved.evaluate.methods import attacking
from unmoved.evaluate.obfuscation import Obfuscation, keep, obfuscation
from unmoved.evaluate.results import Results
from unmoved.evaluate.run import Job
from unmoved.evaluate.tightness import contradicted
from unmoved.report.terminal import summary_json
from unmoved.store import open_store
from unmoved.threats import Lp


@dataclass(frozen=True)
class Effort:
    """How hard to attack: a suite by name, or one plain descent; and over how many inputs to look for obfuscation."""

    suite: str | None = None
    steps: int | None = None
    restarts: int | None = None
    checks: int | None = None


def attack_command(request: Request, effort: Effort, *, as_json: bool) -> int:
    """Attack the data set; return the exit code: 1 when a certificate of f in the same store is contradicted."""
    chosen, function = attacking(
        request.asked, request.sampling, effort=effort.suite, steps=effort.steps, restarts=effort.restarts
    )
    if effort.checks is not None and (function != "f" or not isinstance(request.asked, Lp)):
        raise UsageError("checks", effort.checks, "nothing with --sigma: they are about the gradients of f")
    network, data = request.load()
    store = request.open()
    job = Job(
        network,
        data,
        request.asked,
        chosen,
        kind="attack",
        function=function,
        seed=request.seed,
        model_name=Path(request.model).name,
        seconds=math.inf if request.seconds is None else request.seconds,
    )
    found = _examined(job, effort.checks)
    if found is not None:
        keep(store, job.run, found)
    answers = run_kept(job, store, request, f"attacking {job.threat.name}")
    against = _contradicted(request, job)
    if as_json:
        told = {"obfuscation": None if found is None else found.to_json()}
        console.emit(json.dumps(summary_json([Results(job.run, tuple(answers))]) | told, indent=2))
    else:
        show(job, answers, request)
        for sign in found.signs if found else ():
            console.line(f"{'WARNING' if sign.warns else 'ok':<8}{sign.kind:<11}{sign.text}")
    if found is not None and found.warnings:
        names = ", ".join(sign.kind for sign in found.warnings)
        console.warn(f"gradients seem to mislead attacks here ({names}): attacked accuracy may be far too high")
    if against:
        console.fail(
            f"{against} certificates of f are CONTRADICTED by an attack. That is a bug of ours, not of the model: rely "
            "on none of these certificates, and please report it"
        )
    return console.NOT_MET if against else console.OK


def _examined(job: Job, inputs: int | None) -> Obfuscation | None:
    if inputs is None:
        return None
    assert isinstance(job.threat, Lp)
    return obfuscation(job.network, job.data, job.threat, inputs=inputs, seed=job.seed)


def _contradicted(request: Request, job: Job) -> int:
    """Return how many certificates of f in this store an attack breaks, this one's model only."""
    store = open_store(request.out / FILE if request.store is None else request.store)
    mine = [each for each in read_results(store) if each.run.model == job.run.model]
    store.close()
    return contradicted(views(mine))
