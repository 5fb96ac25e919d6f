"""The noise that a certificate names, made anew: what drawing copies again needs."""

from __future__ import annotations

import re
from collections.abc import Callable

from unmoved.core.certificate import Counts
from unmoved.core.errors import UsageError
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.noises.ablation import Ablation
from unmoved.smooth.noises.discrete import Discrete
from unmoved.smooth.noises.gaussian import Gaussian
from unmoved.smooth.noises.laplace import Laplace
from unmoved.smooth.noises.sparse import Sparse
from unmoved.smooth.noises.splitting import Splitting
from unmoved.smooth.noises.uniform import Uniform

_GRIDDED: dict[str, Callable[..., Noise]] = {
    "gaussian-grid": Gaussian,
    "laplace-grid": Laplace,
    "uniform-grid": Uniform,
    "splitting": Splitting,
    "discrete": Discrete,
}
_ABLATION = re.compile(r"ablation\((\d+) of (\d+), ([^()]+)\)")
_SPARSE = re.compile(r"sparse-flips\(delete=([^()]+)\)")


def noise_of(evidence: Counts) -> Noise:
    """Return the noise whose copies were counted; UsageError for a name or a sampler that this machine does not have.

    Its radii are in its own norm, whatever norm the certificate states.
    """
    kind, scale = evidence.noise, evidence.sigma
    made: Noise
    if kind in _GRIDDED:
        made = _GRIDDED[kind](scale, evidence.grid)
    elif (found := _ABLATION.fullmatch(kind)) is not None:
        made = Ablation(int(found[1]), int(found[2]), None if found[3] == "mask" else float(found[3]))
    elif (found := _SPARSE.fullmatch(kind)) is not None:
        made = Sparse(scale, found[1])
    else:
        raise UsageError("noise", kind, "one of " + ", ".join([*_GRIDDED, "ablation", "sparse-flips"]))
    if evidence.sampler != made.sampler:
        raise UsageError("sampler", evidence.sampler, made.sampler)
    return made
