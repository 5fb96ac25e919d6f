"""Noises by the names that the command line gives them, each with the one option that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from unmoved.core.errors import UsageError
from unmoved.smooth import (
    Ablation,
    Blocks,
    Columns,
    DerandomizedSplitting,
    Discrete,
    FiniteNoise,
    Gaussian,
    Laplace,
    Noise,
    Sparse,
    Splitting,
    Uniform,
)
from unmoved.smooth.noises.ablation import channels

_UNKNOWN_PIXELS = 2**20
_HIDDEN = 0.0
"""What f sees in place of what is hidden."""


@dataclass(frozen=True)
class Options:
    """What was said of the noise, as typed. `shape` is an input's, () while it is not known."""

    sigma: object = None
    keep: object = None
    band: object = None
    flip: object = None
    grid: int = 255
    shape: tuple[int, ...] = ()


FINITE = (DerandomizedSplitting, Columns, Blocks)
"""Noises without chance."""

OPTIONS = ("sigma", "keep", "band", "flip")

NOISES: dict[str, tuple[str, str, Callable[[Options], Noise | FiniteNoise]]] = {
    "gaussian": ("sigma", "its standard deviation, such as 0.5", lambda o: Gaussian(o.sigma, o.grid)),
    "laplace": ("sigma", "its mean absolute value, such as 0.5", lambda o: Laplace(o.sigma, o.grid)),
    "uniform": ("sigma", "its largest absolute value, such as 0.5", lambda o: Uniform(o.sigma, o.grid)),
    "splitting": ("sigma", "half the range of its thresholds, such as 0.5", lambda o: Splitting(o.sigma, o.grid)),
    "splitting-all": (
        "sigma",
        "half the range of its thresholds, all of which are tried, such as 0.5",
        lambda o: DerandomizedSplitting(o.sigma, o.grid),
    ),
    "discrete": ("keep", "the probability that an element stays, such as 0.8", lambda o: Discrete(o.keep, o.grid)),
    "ablation": ("keep", "how many pixels the model sees at a time, such as 45", lambda o: _ablation(o)),
    "flips": ("flip", "the probabilities that a 0 and that a 1 flips, such as 0.01,0.6", lambda o: _sparse(o)),
    "columns": ("band", "how many columns the model sees at a time, such as 4", lambda o: Columns(_band(o), _HIDDEN)),
    "blocks": ("band", "the side of what the model sees at a time, such as 12", lambda o: Blocks(_band(o), _HIDDEN)),
}
"""Name -> the option that it needs, what that option means, and how it is made."""


def noise_named(name: str, options: Options) -> Noise | FiniteNoise:
    """Return the noise of this name.

    UsageError for an unknown name, for an option that is missing, makes no sense, or is another noise's.
    """
    if name not in NOISES:
        raise UsageError("noise", name, "one of " + ", ".join(NOISES))
    needed, meaning, make = NOISES[name]
    for option in OPTIONS:
        value = getattr(options, option)
        if option == needed and value is None:
            raise UsageError(option, None, f"{meaning}: {name} noise needs it")
        if option != needed and value is not None:
            raise UsageError(option, value, f"nothing with {name} noise, which takes --{needed}")
    try:
        return make(options)
    except UsageError as error:
        # the noises' own words for the one option; what is wrong with the grid is the grid's
        if error.argument in OPTIONS or error.argument == "grid":
            raise
        raise UsageError(needed, getattr(options, needed), error.expected) from error


def _ablation(options: Options) -> Ablation:
    # before an input is known, as many pixels as nobody has: so nothing is refused that could be certified
    pixels = prod(options.shape) // channels(options.shape) if options.shape else _UNKNOWN_PIXELS
    return Ablation(_whole("keep", options.keep), pixels, _HIDDEN)


def _sparse(options: Options) -> Sparse:
    parts = str(options.flip).split(",")
    if len(parts) != 2:
        raise UsageError("flip", options.flip, "two probabilities, such as 0.01,0.6")
    return Sparse(parts[0].strip(), parts[1].strip())


def _band(options: Options) -> int:
    return _whole("band", options.band)


def _whole(option: str, value: object) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(option, value, "a whole number >= 1")
    return int(text)
