"""Few elements, each to any value: the L0 ball."""

from __future__ import annotations

import numpy as np

from unmoved.core.rounding import Floats
from unmoved.threats.changes import Changed, Changes


class L0(Changes):
    """At most `number` elements differ (a value of one channel of a pixel is one element), each by however much."""

    word = "l0"
    norm = "0"

    def allows(self, changed: Changed) -> bool:
        """Say whether they are few enough."""
        return int(changed.sum()) <= self.number

    def choose(self, move: Floats) -> Changed:
        """Return the elements with the largest moves."""
        chosen = np.zeros(move.size, np.bool_)
        chosen[np.argsort(-move, axis=None, kind="stable")[: self.number]] = True
        return chosen.reshape(move.shape)
