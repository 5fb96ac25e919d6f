"""A quick start changes what is imported when, and nothing else."""

from __future__ import annotations

import gc
import subprocess
import sys

from unmoved.cli.start import quick_imports

USES_BOTH = """
import sys
from unmoved.cli.start import Later, quick_imports
with quick_imports():
    import torch
stand_in = sys.modules["torch._meta_registrations"]
assert isinstance(stand_in, Later)
x = torch.arange(6.0, dtype=torch.float64).reshape(2, 3).requires_grad_()
(x @ x.T).relu().sum().backward()
assert x.grad.shape == (2, 3)
# what asks for a shape on the meta device gets the real thing
assert callable(torch._meta_registrations.meta_mm)
assert not isinstance(sys.modules["torch._meta_registrations"], Later)
assert torch.empty(2, 3, device="meta").mm(torch.empty(3, 4, device="meta")).shape == (2, 4)
"""


def test_torch_computes_without_its_registrations_and_has_them_when_asked() -> None:
    done = subprocess.run([sys.executable, "-c", USES_BOTH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_collector_is_as_before() -> None:
    assert gc.isenabled()
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_module_that_was_there_is_not_replaced() -> None:
    import torch

    before = sys.modules["torch._meta_registrations"]
    with quick_imports():
        assert torch.__version__
    assert sys.modules["torch._meta_registrations"] is before
