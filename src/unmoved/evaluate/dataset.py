"""The one-liner: certify a data set."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmoved.core import Semantics, Threat, UsageError
from unmoved.evaluate.methods import Sampling, certifying
from unmoved.evaluate.run import Job, Progress, dataset, execute
from unmoved.loaders import load
from unmoved.record import Row, Run
from unmoved.store import Store, open_store
from unmoved.threats import as_threat


@dataclass(frozen=True)
class Answers:
    """A run's rows, one an input in order, and the store that keeps them with their certificates."""

    run: Run
    rows: tuple[Row, ...]
    store: Store

    @property
    def certified_accuracy(self) -> float:
        """The share of inputs that are CERTIFIED with the right label."""
        return sum(row.certified for row in self.rows) / len(self.rows)


def certify_dataset(
    model: Any,
    x: Any,
    y: Any,
    threat: Threat | str,
    method: str = "auto",
    *,
    sigma: object = None,
    samples: int | None = None,
    alpha: object = "0.001",
    grid: int = 255,
    limit: int | None = None,
    seed: int = 0,
    unchecked: bool = False,
    semantics: str = "real",
    store: Store | str | Path | None = None,
    progress: Progress | None = None,
) -> Answers:
    """Certify each (x_i, y_i): CERTIFIED only where the independent checker accepted the proof.

    `model` is a path or the bytes of an ONNX file, a torch module (put in eval mode for the export), or an
    `ir.Network`. `x` is (n, *input_shape), numbers; `y` (n,) integer labels. `threat` is a Threat or its text,
    "linf:8/255", "l2:0.5", "l1:2". `method` is "auto", "interval", "linear", "optimised", "branch" or "smoothing"
    (which needs `sigma`). `semantics` is what proofs about f speak of: "real", or "float32-any-order", every float32
    execution ("float32-any-order:tf32": on tensor cores). Rows that are in the `store` already (a Store, path or URL; a
    temporary one if None) are not redone.
    Raises UsageError for a bad argument and LoadError for a model that cannot be read.
    """
    shape = getattr(x, "shape", None)
    if not shape:
        raise UsageError("x", type(x).__name__, "an array of inputs, shape (n, ...)")
    asked = as_threat(threat)
    network = load(model, input_shape=(1, *shape[1:]))
    chosen, function = certifying(method, asked, Sampling(sigma, samples, alpha, grid))
    data = dataset(network, x, y)
    meant = Semantics.of(semantics)
    if function == "g" and meant.deployed:
        raise UsageError("semantics", semantics, "real with smoothing: what was sampled was run")
    job = Job(network, data, asked, chosen, function=function, seed=seed, unchecked=unchecked, semantics=meant)
    if store is None:
        store = Path(tempfile.mkdtemp(prefix="unmoved-")) / "store.sqlite"
    kept = store if isinstance(store, Store) else open_store(store)
    return Answers(job.run, tuple(execute(job, kept, limit=limit, progress=progress)), kept)
