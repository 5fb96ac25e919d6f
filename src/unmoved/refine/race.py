"""Two searches for one proof by turns: whichever has taken less time goes on, so that none costs more than double.

Splitting with the root's bounds is best where these are nearly good enough, bounding every part anew (`nested`) where
they are not, and nothing at the root tells these apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from torch import Tensor

from unmoved.core.certificate import DualTree

HEAD = 1.0
"""Seconds that the first search has for itself: most proofs take no longer."""


class Searching(Protocol):
    """What searches have in common; `points` are those of the last step."""

    @property
    def points(self) -> Tensor | None:
        """Inputs that may break the property."""

    @property
    def nodes(self) -> int:
        """How many domains were bounded."""

    @property
    def finished(self) -> bool:
        """Whether all is proved."""

    @property
    def exhausted(self) -> bool:
        """Whether nothing more can be done: nothing left to split, or no memory to do it."""

    @property
    def full(self) -> bool:
        """Whether the memory is used up."""

    @property
    def low(self) -> float:
        """The worst bound of what is left."""

    @property
    def progress(self) -> dict[str, int]:
        """How many `leaves` are proved and how many domains are `open`."""

    def step(self) -> None:
        """Split what is most urgent."""

    def proof(self) -> DualTree:
        """Return the evidence of a finished search."""


@dataclass(eq=False)
class Race:
    """The first search, and a second one that begins when the first has taken `HEAD` seconds, if `second` is given."""

    first: Searching
    second: Callable[[], Searching] | None
    points: Tensor | None = None
    later: list[Searching] = field(default_factory=list)
    spent: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def __post_init__(self) -> None:
        """The first search has points already."""
        self.points = self.first.points

    @property
    def _all(self) -> list[Searching]:
        return [self.first, *self.later]

    @property
    def finished(self) -> bool:
        """Whether one of the searches has proved all."""
        return any(search.finished for search in self._all)

    @property
    def exhausted(self) -> bool:
        """Whether neither search can go on."""
        return self.second is None and all(search.exhausted for search in self._all)

    @property
    def full(self) -> bool:
        """Whether memory ended one of them."""
        return any(search.full for search in self._all)

    @property
    def nodes(self) -> int:
        """Domains of both."""
        return sum(search.nodes for search in self._all)

    @property
    def low(self) -> float:
        """The better one's worst bound."""
        return max((search.low for search in self._all), default=-np.inf)

    @property
    def progress(self) -> dict[str, int]:
        """That of the search with the better bound."""
        return max(self._all, key=lambda search: search.low).progress

    def step(self) -> None:
        """Let the search go on that has taken less time, of those that can."""
        ready = [i for i, search in enumerate(self._all) if not search.exhausted]
        started = time.monotonic()
        if self.second is not None and (not ready or self.spent[0] >= HEAD):
            search, self.second = self.second(), None
            self.later.append(search)
            i, self.spent[0] = 1, 0.0
        else:
            i = min(ready, key=self.spent.__getitem__)
            search = self._all[i]
            search.step()
        self.points = search.points
        self.spent[i] += time.monotonic() - started

    def proof(self) -> DualTree:
        """Return the evidence of the search that is finished."""
        return next(search for search in self._all if search.finished).proof()
