"""Objectives for nets whose bounds are to be tight enough to certify."""

from unmoved.train.certified.box import BoxObjective
from unmoved.train.certified.crown_ibp import CrownIbp
from unmoved.train.certified.expressive import CcIbp, ExpIbp, MtlIbp
from unmoved.train.certified.ibp import Ibp
from unmoved.train.certified.small_box import Sabr
from unmoved.train.certified.taps import Staps

__all__ = ["BoxObjective", "CcIbp", "CrownIbp", "ExpIbp", "Ibp", "MtlIbp", "Sabr", "Staps"]
