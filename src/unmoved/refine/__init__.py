"""Spend a budget on proofs: bounds as methods, and cascades of methods."""

from unmoved.refine.ascent import Ascent
from unmoved.refine.branch import Settings
from unmoved.refine.cascade import Cascade
from unmoved.refine.complete import BranchMethod
from unmoved.refine.lipschitz import LipschitzMethod
from unmoved.refine.methods import IntervalMethod, LinearMethod
from unmoved.refine.milp import MilpMethod
from unmoved.refine.optimise import OptimisedMethod
from unmoved.refine.sdp import SdpMethod
from unmoved.refine.smt import SmtMethod
from unmoved.refine.zonotope import IntersectionMethod, ZonotopeMethod

__all__ = [
    "Ascent",
    "BranchMethod",
    "Cascade",
    "IntersectionMethod",
    "IntervalMethod",
    "LinearMethod",
    "LipschitzMethod",
    "MilpMethod",
    "OptimisedMethod",
    "SdpMethod",
    "Settings",
    "SmtMethod",
    "ZonotopeMethod",
]
