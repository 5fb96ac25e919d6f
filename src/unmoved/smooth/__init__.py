"""Randomised smoothing: sound noise, vote counts, confidence bounds and radii of the smoothed classifier g."""

from unmoved.smooth.gaussian import Gaussian
from unmoved.smooth.noise import Noise
from unmoved.smooth.results import ABSTAIN, Prediction, SmoothedResult
from unmoved.smooth.sampling import VoteCounter, Votes, same_at_every_position
from unmoved.smooth.seeds import Purpose, Stream, input_seed
from unmoved.smooth.smoothed import Smoothed
from unmoved.smooth.statistics import BOUNDS, largest_radius, samples_needed

__all__ = [
    "ABSTAIN",
    "BOUNDS",
    "Gaussian",
    "Noise",
    "Prediction",
    "Purpose",
    "Smoothed",
    "SmoothedResult",
    "Stream",
    "VoteCounter",
    "Votes",
    "input_seed",
    "largest_radius",
    "same_at_every_position",
    "samples_needed",
]
