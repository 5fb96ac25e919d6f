"""Randomised smoothing: sound noise, vote counts, confidence bounds and radii of the smoothed classifier g."""

from unmoved.smooth.ablation import Ablation
from unmoved.smooth.conversions import Conversion, InNorm, from_l2
from unmoved.smooth.discrete import Discrete
from unmoved.smooth.enumeration import Enumerated, EnumeratedResult, FiniteNoise
from unmoved.smooth.firstorder import FirstOrderResult, FirstOrderSmoothed, first_order_radius
from unmoved.smooth.gaussian import Gaussian
from unmoved.smooth.laplace import Laplace
from unmoved.smooth.noise import Noise
from unmoved.smooth.patches import Blocks, Columns
from unmoved.smooth.percentile import PercentileBounds, SmoothedRegression, percentile_bounds
from unmoved.smooth.results import ABSTAIN, Prediction, SmoothedResult
from unmoved.smooth.sampling import VoteCounter, Votes, same_at_every_position
from unmoved.smooth.search import radius_by_search
from unmoved.smooth.seeds import Purpose, Stream, input_seed
from unmoved.smooth.segmentation import SegmentationResult, SmoothedSegmentation
from unmoved.smooth.smoothed import Smoothed
from unmoved.smooth.sparse import Sparse
from unmoved.smooth.splitting import DerandomizedSplitting, Splitting
from unmoved.smooth.statistics import BOUNDS, largest_radius, samples_needed
from unmoved.smooth.topk import top_k_from_counts, top_k_radius
from unmoved.smooth.uniform import Uniform

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
