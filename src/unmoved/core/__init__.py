"""The vocabulary of `unmoved`: numpy and the standard library only."""

from unmoved.core.budget import Budget
from unmoved.core.certificate import (
    Certificate,
    Check,
    Classes,
    Counts,
    DualTree,
    Evidence,
    Finding,
    Lipschitz,
    Witness,
)
from unmoved.core.errors import IntegrityError, LoadError, UnmovedError, UnsupportedError, UsageError
from unmoved.core.method import Method, Resumable
from unmoved.core.notes import NoNotes, Notes
from unmoved.core.problem import Model, Problem
from unmoved.core.property import Disjunct, LinearProperty, Property, SameClass
from unmoved.core.rounding import decimal_down, decimal_up, float_down, float_up, rational
from unmoved.core.semantics import FLOAT32, REAL, TF32, Semantics
from unmoved.core.threat import Region, Threat
from unmoved.core.verdict import Code, Guarantee, Reason, Verdict

__all__ = [
    "FLOAT32",
    "REAL",
    "TF32",
    "Budget",
    "Certificate",
    "Check",
    "Classes",
    "Code",
    "Counts",
    "Disjunct",
    "DualTree",
    "Evidence",
    "Finding",
    "Guarantee",
    "IntegrityError",
    "LinearProperty",
    "Lipschitz",
    "LoadError",
    "Method",
    "Model",
    "NoNotes",
    "Notes",
    "Problem",
    "Property",
    "Reason",
    "Region",
    "Resumable",
    "SameClass",
    "Semantics",
    "Threat",
    "UnmovedError",
    "UnsupportedError",
    "UsageError",
    "Verdict",
    "Witness",
    "decimal_down",
    "decimal_up",
    "float_down",
    "float_up",
    "rational",
]
