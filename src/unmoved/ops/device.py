"""Where a network runs: torch's names of devices, checked against what this machine has."""

from __future__ import annotations

import torch

from unmoved.core.errors import UsageError


def reachable(name: object) -> str:
    """Return the device's name; UsageError that says which devices there are where it is none of them.

    Known are "cpu", "cuda" (the first one) and "cuda:K": others lack the int64 and float64 tensors that we need.
    """
    here = [f"cuda:{k}" for k in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if name in ("cpu", *here, *(["cuda"] if here else [])):
        return str(name)
    why = "built without CUDA" if torch.version.cuda is None else "CUDA finds no device"
    found = ", ".join(["cpu", *here]) if here else f"cpu: no other device is here (torch {torch.__version__}, {why})"
    raise UsageError("device", name, found)
