"""Certified robustness: proofs that a model's answer does not move, that a stranger can check.

    import unmoved
    answers = unmoved.certify_dataset("model.onnx", x, y, "linf:8/255")

or step by step:

    model = unmoved.load_onnx("model.onnx")
    problem = unmoved.Problem(model, x, unmoved.Linf("8/255"), unmoved.SameClass(7))
    certificate = unmoved.certify(problem, unmoved.Cascade.default(), unmoved.Budget(seconds=60), seed=0)

Importing this package imports no torch; a name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmoved.attack import PgdMethod
    from unmoved.certifier import certify, certify_all
    from unmoved.core import (
        Budget,
        Certificate,
        LinearProperty,
        Problem,
        SameClass,
        UnmovedError,
        UsageError,
        Verdict,
    )
    from unmoved.evaluate.dataset import Answers, certify_dataset
    from unmoved.loaders import load, load_onnx, load_torch
    from unmoved.refine import Cascade, IntervalMethod, LinearMethod
    from unmoved.report.page import write_report
    from unmoved.smooth import ABSTAIN, Gaussian, Smoothed
    from unmoved.smooth.classifiers.classifier import CertifiedClassifier
    from unmoved.smooth.methods.method import SmoothingMethod
    from unmoved.smooth.voting.engine import Setup
    from unmoved.store import open_store
    from unmoved.threats import L1, L2, Box, Linf

_HOMES = {
    "ABSTAIN": "smooth",
    "Answers": "evaluate.dataset",
    "Box": "threats",
    "Budget": "core",
    "Cascade": "refine",
    "Certificate": "core",
    "CertifiedClassifier": "smooth.classifiers.classifier",
    "Gaussian": "smooth",
    "IntervalMethod": "refine",
    "L1": "threats",
    "L2": "threats",
    "LinearMethod": "refine",
    "LinearProperty": "core",
    "Linf": "threats",
    "PgdMethod": "attack",
    "Problem": "core",
    "SameClass": "core",
    "Setup": "smooth.voting.engine",
    "Smoothed": "smooth",
    "SmoothingMethod": "smooth.methods.method",
    "UnmovedError": "core",
    "UsageError": "core",
    "Verdict": "core",
    "certify": "certifier",
    "certify_all": "certifier",
    "certify_dataset": "evaluate.dataset",
    "load": "loaders",
    "load_onnx": "loaders",
    "load_torch": "loaders",
    "open_store": "store",
    "write_report": "report.page",
}

__all__ = [
    "ABSTAIN",
    "L1",
    "L2",
    "Answers",
    "Box",
    "Budget",
    "Cascade",
    "Certificate",
    "CertifiedClassifier",
    "Gaussian",
    "IntervalMethod",
    "LinearMethod",
    "LinearProperty",
    "Linf",
    "PgdMethod",
    "Problem",
    "SameClass",
    "Setup",
    "Smoothed",
    "SmoothingMethod",
    "UnmovedError",
    "UsageError",
    "Verdict",
    "certify",
    "certify_all",
    "certify_dataset",
    "load",
    "load_onnx",
    "load_torch",
    "open_store",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'unmoved' has no attribute {name!r}")
    return getattr(import_module(f"unmoved.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
