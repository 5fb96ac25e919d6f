"""Randomised smoothing: sound noise, vote counts, confidence bounds and radii of the smoothed classifier g."""

from unmoved.smooth.classifiers.enumeration import Enumerated, EnumeratedResult, FiniteNoise
from unmoved.smooth.classifiers.firstorder import FirstOrderResult, FirstOrderSmoothed, first_order_radius
from unmoved.smooth.classifiers.percentile import PercentileBounds, SmoothedRegression, percentile_bounds
from unmoved.smooth.classifiers.results import ABSTAIN, Prediction, SmoothedResult
from unmoved.smooth.classifiers.segmentation import SegmentationResult, SmoothedSegmentation
from unmoved.smooth.classifiers.smoothed import Smoothed
from unmoved.smooth.classifiers.topk import top_k_from_counts, top_k_radius
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.draws.seeds import Purpose, Stream, input_seed
from unmoved.smooth.noises.ablation import Ablation
from unmoved.smooth.noises.discrete import Discrete
from unmoved.smooth.noises.gaussian import Gaussian
from unmoved.smooth.noises.laplace import Laplace
from unmoved.smooth.noises.patches import Blocks, Columns
from unmoved.smooth.noises.sparse import Sparse
from unmoved.smooth.noises.splitting import DerandomizedSplitting, Splitting
from unmoved.smooth.noises.uniform import Uniform
from unmoved.smooth.radii.conversions import Conversion, InNorm, from_l2
from unmoved.smooth.radii.search import radius_by_search
from unmoved.smooth.statistics import BOUNDS, largest_radius, samples_needed
from unmoved.smooth.voting.sampling import VoteCounter, Votes, same_at_every_position

__all__ = [
    "ABSTAIN",
    "BOUNDS",
    "Ablation",
    "Blocks",
    "Columns",
    "Conversion",
    "DerandomizedSplitting",
    "Discrete",
    "Enumerated",
    "EnumeratedResult",
    "FiniteNoise",
    "FirstOrderResult",
    "FirstOrderSmoothed",
    "Gaussian",
    "InNorm",
    "Laplace",
    "Noise",
    "PercentileBounds",
    "Prediction",
    "Purpose",
    "SegmentationResult",
    "Smoothed",
    "SmoothedRegression",
    "SmoothedResult",
    "SmoothedSegmentation",
    "Sparse",
    "Splitting",
    "Stream",
    "Uniform",
    "VoteCounter",
    "Votes",
    "first_order_radius",
    "from_l2",
    "input_seed",
    "largest_radius",
    "percentile_bounds",
    "radius_by_search",
    "same_at_every_position",
    "samples_needed",
    "top_k_from_counts",
    "top_k_radius",
]
