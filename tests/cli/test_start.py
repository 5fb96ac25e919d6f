"""A quick start changes what is imported when, and nothing else."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

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

HALVES = """
import sys
import numpy as np
from unmoved.cli.start import quick_imports
with quick_imports():
    import unmoved.refine.inputs as inputs
    from unmoved.loaders import load_onnx
folder = sys.argv[1]
import onnx
from onnx import helper, numpy_helper
rng = np.random.default_rng(0)
sizes, nodes, constants, last = (3, 40, 40, 1), [], [], "x"
for k, (a, b) in enumerate(zip(sizes, sizes[1:])):
    constants += [
        numpy_helper.from_array((rng.normal(size=(a, b)) / a**0.5).astype(np.float32), f"w{k}"),
        numpy_helper.from_array((rng.normal(size=b) / 4).astype(np.float32), f"b{k}"),
    ]
    out = "y" if k == len(sizes) - 2 else f"z{k}"
    nodes.append(helper.make_node("Gemm", [last, f"w{k}", f"b{k}"], [out]))
    if out != "y":
        nodes.append(helper.make_node("Relu", [out], [f"a{k}"]))
        last = f"a{k}"
ends = [helper.make_tensor_value_info(n, 1, [1, m]) for n, m in (("x", 3), ("y", 1))]
graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
open(folder + "/net.onnx", "wb").write(data)
import onnxruntime
session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
points = rng.uniform(-1, 1, (2000, 1, 3)).astype(np.float32)
least = min(float(session.run(None, {"x": x})[0][0, 0]) for x in points)
lines = [f"(declare-const {v} Real)" for v in ("X_0", "X_1", "X_2", "Y_0")]
lines += [f"(assert (>= X_{i} -1.0))(assert (<= X_{i} 1.0))" for i in range(3)]
open(folder + "/query.vnnlib", "w").write("\\n".join([*lines, f"(assert (<= Y_0 {least - 0.3}))"]))
halved, gains = [], inputs.gains
inputs.gains = lambda *given: (halved.append(1), gains(*given))[1]
from unmoved.cli import main
sys.argv = ["unmoved", "verify", folder + "/query.vnnlib", "--network", folder + "/net.onnx", "--timeout", "60"]
try:
    main()
finally:
    assert halved, "the input was halved"
"""


def test_torch_computes_without_its_registrations_and_has_them_when_asked() -> None:
    done = subprocess.run([sys.executable, "-c", USES_BOTH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_search_by_halving_the_input_finds_all_that_it_needs(tmp_path: Path) -> None:
    """A process of its own: nothing else has imported the rest of torch before."""
    done = subprocess.run([sys.executable, "-c", HALVES, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.splitlines()[:1] == ["unsat"], done.stderr
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
