"""Objectives for a base classifier f that will be smoothed."""

from unmoved.train.smoothing.consistency import Consistency, Stability
from unmoved.train.smoothing.denoising import Denoising
from unmoved.train.smoothing.macer import Macer
from unmoved.train.smoothing.noise import GaussianNoise
from unmoved.train.smoothing.smoothadv import SmoothAdv

__all__ = ["Consistency", "Denoising", "GaussianNoise", "Macer", "SmoothAdv", "Stability"]
