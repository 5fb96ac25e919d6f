"""From vote counts to probability bounds, radii and decisions: always rounded to the safe side."""

from unmoved.smooth.statistics.bounds import (
    BOUNDS,
    MARGIN,
    MAX_RATIO,
    Bounds,
    binomial_test,
    bound_named,
    clopper_pearson_high,
    clopper_pearson_low,
    gaussian_radius,
    largest_radius,
    one_class,
    quantile_high,
    quantile_low,
    samples_needed,
    two_class,
)
from unmoved.smooth.statistics.family import FAMILIES, Family, step_down
from unmoved.smooth.statistics.looks import LOOKS, Looks, geometric, single
from unmoved.smooth.statistics.plan import ALPHA, COHEN, MODES, Plan
from unmoved.smooth.statistics.rule import MOST_SAMPLES, Rule, Standing
from unmoved.smooth.statistics.spot import most_wrong, supported

__all__ = [
    "ALPHA",
    "BOUNDS",
    "COHEN",
    "FAMILIES",
    "LOOKS",
    "MARGIN",
    "MAX_RATIO",
    "MODES",
    "MOST_SAMPLES",
    "Bounds",
    "Family",
    "Looks",
    "Plan",
    "Rule",
    "Standing",
    "binomial_test",
    "bound_named",
    "clopper_pearson_high",
    "clopper_pearson_low",
    "gaussian_radius",
    "geometric",
    "largest_radius",
    "most_wrong",
    "one_class",
    "quantile_high",
    "quantile_low",
    "samples_needed",
    "single",
    "step_down",
    "supported",
    "two_class",
]
