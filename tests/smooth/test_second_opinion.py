"""The independent checker, which shares no code with this room, accepts every radius, and none that is larger."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from unmoved.smooth import Gaussian, Smoothed
from unmoved_check.counts import check_counts
from unmoved_check.outcome import Rejection
from unmoved_check.tensor import Tensor


def manifest(result, radius):
    evidence = result.evidence
    alpha = str(evidence.alpha)
    return {
        "input": {"tensor": "center"},
        "threat": {"kind": "lp", "norm": "2", "eps": "0", "clip": None},
        "property": {"kind": "same_class", "label": result.label, "classes": len(evidence.counts)},
        "claim": {
            "verdict": "CERTIFIED",
            "function": "g",
            "semantics": "sampled",
            "guarantee": {"kind": "probabilistic", "alpha": alpha},
            "radius": radius,
        },
        "evidence": {
            "kind": "counts",
            "noise": result.noise,
            "sigma": str(evidence.sigma),
            "grid": evidence.grid,
            "offset": "0",
            "on_grid": evidence.on_grid,
            "bound": evidence.bound,
            "samples": evidence.samples,
            "selection_samples": evidence.selection_samples,
            "counts": list(evidence.counts),
            "top": evidence.top,
            "alpha": alpha,
            "seed": evidence.seed,
            "sampler": evidence.sampler,
        },
    }


@pytest.mark.parametrize("bound", ["one-class", "two-class"])
@pytest.mark.parametrize(("sigma", "grid", "shift"), [("1/2", 255, 0.0), ("0.3", 255, 0.0), ("1", 4000, 1e-4)])
def test_checker_accepts_the_radius_and_nothing_larger(bound, sigma, grid, shift):
    random, accepted = np.random.default_rng(7), 0
    for trial in range(25):
        x = (random.integers(0, 256, 5) / 255 + shift).astype(np.float32)
        cuts = torch.tensor(np.sort(x[0] + random.normal(size=2)), dtype=torch.float32)
        smoothed = Smoothed(lambda z, cuts=cuts: torch.bucketize(z[:, 0].contiguous(), cuts), Gaussian(sigma, grid), 3)
        samples = int(10 ** random.uniform(1.5, 4))
        result = smoothed.certify(x, samples=samples, alpha="1/1000", seed=trial, bound=bound)
        if result.abstained:
            continue
        tensors = {"center": Tensor("F32", x.shape, x.astype("<f4").tobytes())}
        check_counts(manifest(result, result.radius_text), tensors, x.shape)
        larger = str(Fraction(result.radius) * (1 + Fraction(1, 10**6)) + Fraction(1, 10**9))
        with pytest.raises(Rejection, match="more than the counts prove"):
            check_counts(manifest(result, larger), tensors, x.shape)
        accepted += 1
    assert accepted >= 8
