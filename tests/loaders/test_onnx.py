"""Reading ONNX: operator sets, folding, batch sizes, what is kept and what is refused; onnxruntime is the oracle."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from unmoved import ops
from unmoved.core.errors import LoadError, UnsupportedError, UsageError
from unmoved.loaders.onnx import load_onnx
from unmoved.loaders.runtime import Runtime
from unmoved.ops import activations, bind, evaluate

torch.set_num_threads(1)


def constant(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(seed).normal(size=shape).astype(np.float32), name)


def integers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def model(nodes, shape, constants=(), opset=17, *, kind=TensorProto.FLOAT, domain="") -> bytes:
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph(nodes, "net", [x], [y], list(constants))
    sets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=sets, ir_version=8 if opset < 23 else 10).SerializeToString()


def small(shape=(1, 3), opset=17) -> bytes:
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    return model(nodes, shape, [constant("w", 3, 2), constant("b", 2)], opset)


def convolutional(opset: int) -> bytes:
    """Operators whose attributes became inputs over time, in the form of that operator set."""
    constants = [constant("k", 2, 1, 3, 3), constant("w", 18, 3)]
    if opset < 11:
        pads = helper.make_node("Pad", ["x"], ["p"], pads=[0, 0, 1, 0, 0, 0, 1, 0], value=0.5)
        clip = helper.make_node("Clip", ["c"], ["r"], min=-0.5, max=1.0)
    else:
        constants += [integers("pads", 0, 0, 1, 0, 0, 0, 1, 0), numpy_helper.from_array(np.float32(0.5), "fill")]
        constants += [numpy_helper.from_array(np.float32(v), n) for v, n in ((-0.5, "lo"), (1.0, "hi"))]
        pads = helper.make_node("Pad", ["x", "pads", "fill"], ["p"])
        clip = helper.make_node("Clip", ["c", "lo", "hi"], ["r"])
    if opset < 10:
        cut = helper.make_node("Slice", ["r"], ["s"], starts=[0, 1], ends=[3, 4], axes=[2, 3])
    else:
        constants += [integers("from", 0, 1), integers("to", 3, 4), integers("axes", 2, 3)]
        cut = helper.make_node("Slice", ["r", "from", "to", "axes"], ["s"])
    rest = [
        helper.make_node("Conv", ["p", "k"], ["c"], strides=[2, 1]),
        clip,
        cut,
        helper.make_node("Flatten", ["s"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    return model([pads, *rest], (None, 1, 5, 6), constants, opset)


@pytest.mark.parametrize("opset", [8, 9, 10, 11, 13, 17, 20, 23, 25])
def test_operator_sets(opset: int) -> None:
    source = convolutional(opset)
    network = load_onnx(source)
    x = np.random.default_rng(1).normal(size=(3, 1, 1, 5, 6)).astype(np.float32)
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    theirs = np.stack([session.run(None, {"x": row})[0] for row in x])
    ours = evaluate(bind(network), network, torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert network.input_shape == (1, 1, 5, 6)
    assert network.outputs == 3


@pytest.mark.parametrize("opset", [7, 26])
def test_other_operator_sets_are_refused(opset: int) -> None:
    proto = onnx.load_model_from_string(small())
    proto.opset_import[0].version = opset
    with pytest.raises(LoadError, match="operator set"):
        load_onnx(proto.SerializeToString())


def test_network_names_its_bytes_and_keeps_names(tmp_path: Path) -> None:
    source = small()
    (tmp_path / "net.onnx").write_bytes(source)
    network = load_onnx(tmp_path / "net.onnx")
    assert network.source == source
    assert network.digest == hashlib.sha256(source).hexdigest()
    assert set(network.constants) == {"w", "b"}
    assert [node.op for node in network.nodes] == ["Gemm", "Relu"]
    assert dict(network.shapes) == {"x": (1, 3), "w": (3, 2), "b": (2,), "h": (1, 2), "y": (1, 2)}


def test_shape_arithmetic_is_folded_at_batch_size_one() -> None:
    """The usual sub-graph of x.view(x.size(0), -1), and a constant that is computed from constants."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Constant", [], ["zero"], value=integers("", 0)),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Constant", [], ["rest"], value=integers("", -1)),
        helper.make_node("Concat", ["n", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("ConstantOfShape", ["six"], ["zeros"], value=numpy_helper.from_array(np.float32([2.0]))),
        helper.make_node("Sqrt", ["zeros"], ["root"]),
        helper.make_node("Mul", ["flat", "root"], ["y"]),
        helper.make_node("Relu", ["y"], ["nobody_needs_me"]),
    ]
    network = load_onnx(model(nodes, ("N", 2, 3), [integers("six", 6)]))
    assert network.operators == ("Reshape", "Mul")
    np.testing.assert_allclose(network.constants["root"], np.sqrt(np.full(6, 2.0)), rtol=1e-6)
    assert network.shapes["flat"] == (1, 6)


def test_initialisers_among_the_inputs_are_constants() -> None:
    proto = onnx.load_model_from_string(small())
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (3, 2)))
    network = load_onnx(proto.SerializeToString())
    assert network.input == "x"
    assert "w" in network.constants


def test_first_of_several_outputs() -> None:
    proto = onnx.load_model_from_string(small())
    proto.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, None))
    assert load_onnx(proto.SerializeToString()).output == "y"


def test_local_functions_are_inlined() -> None:
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    twice = helper.make_function("mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], sets[:1])
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 3)) for n in "xy")
    graph = helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="mine")], "net", [x], [y])
    proto = helper.make_model(graph, opset_imports=sets, functions=[twice], ir_version=8)
    assert load_onnx(proto.SerializeToString()).operators == ("Add",)


@pytest.mark.parametrize(("op", "opset"), [("Tan", 18), ("Floor", 17), ("Ceil", 17)])
def test_unknown_operators_are_kept_and_named(op: str, opset: int) -> None:
    network = load_onnx(model([helper.make_node(op, ["x"], ["y"])], (1, 3), opset=opset))
    assert network.operators == (op,)
    assert network.shapes["y"] == (1, 3)
    with pytest.raises(UnsupportedError, match=op):
        bind(network)


def test_operators_of_another_domain_are_not_taken_for_standard_ones() -> None:
    nodes = [helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", alpha=2.0)]
    network = load_onnx(model(nodes, (1, 3), [constant("w", 3, 2)], domain="com.microsoft"))
    assert network.operators == ("com.microsoft.FusedMatMul",)


def test_random_numbers_are_not_folded() -> None:
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[1, 3]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    with pytest.raises(UnsupportedError, match="RandomNormal"):
        bind(load_onnx(model(nodes, (1, 3))))


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_other_floating_types(kind: int) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    w = numpy_helper.from_array(np.random.default_rng(0).normal(size=(3, 2)).astype(dtype), "w")
    network = load_onnx(model([helper.make_node("MatMul", ["x", "w"], ["y"])], (1, 3), [w], kind=kind))
    assert network.constants["w"].dtype == dtype


@pytest.mark.parametrize("wrong", ["shift", "shape", "nan", "crash"])
def test_a_model_that_we_read_wrongly_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(activations.Relu):
        def apply(self, *values: torch.Tensor) -> torch.Tensor:
            y = torch.relu(values[0])
            if wrong == "crash":
                raise RuntimeError("no such thing")
            return {"shift": y + 0.01, "shape": y[..., :1], "nan": torch.where(y > 0, y, torch.nan)}[wrong]

    def build(node, scope):
        return Wrong(**scope.base(node))

    source = small()
    load_onnx(source)
    monkeypatch.setattr(ops, "RULES", {**ops.RULES, "Relu": ops.Rule("Elementwise", build)})
    with pytest.raises(LoadError, match=r"disagree|we read|fails"):
        load_onnx(source)
    load_onnx(source, compare=False)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "not an ONNX file"),
        (b"hello, world", "not an ONNX file"),
        (small()[:-40], "not a"),
        (small()[:20], "not an ONNX file"),
        (model([helper.make_node("NoSuchOperator", ["x"], ["y"])], (1, 3)), "NoSuchOperator"),
        (model([helper.make_node("Gemm", ["x", "w"], ["y"])], (1, 3), [constant("w", 4, 2)]), "onnxruntime cannot run"),
        (model([helper.make_node("Identity", ["w"], ["y"])], (1, 3), [constant("w", 4, 2)]), "does not depend"),
        (model([helper.make_node("Identity", ["x"], ["y"])], (1, 3), kind=TensorProto.INT64), "floats"),
    ],
    ids=["empty", "text", "cut", "head", "operator", "shapes", "constant", "integers"],
)
def test_what_is_no_usable_model_is_refused_in_one_line(source: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(source)
    for given in (source, path):
        with pytest.raises(LoadError, match=message) as caught:
            load_onnx(given)
        assert "\n" not in str(caught.value)


def test_two_inputs_and_outside_weights_are_refused(tmp_path: Path) -> None:
    proto = onnx.load_model_from_string(small())
    proto.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 3)))
    with pytest.raises(LoadError, match="2 inputs"):
        load_onnx(proto.SerializeToString())
    path = tmp_path / "net.onnx"
    proto = onnx.load_model_from_string(small())
    onnx.save(proto, path, save_as_external_data=True, size_threshold=0, convert_attribute=False)
    with pytest.raises(LoadError, match="another file"):
        load_onnx(path)


def test_nodes_out_of_order_are_refused() -> None:
    proto = onnx.load_model_from_string(small())
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    with pytest.raises(LoadError, match=r"order|onnxruntime"):
        load_onnx(proto.SerializeToString())


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(UsageError, match="model"):
            load_onnx(path)


@pytest.mark.parametrize("batch", [1, None, "N"])
def test_runtime_runs_rows_of_a_fixed_and_of_a_dynamic_batch_alike(batch) -> None:
    runtime = Runtime(small((batch, 3)))
    x = np.random.default_rng(0).normal(size=(2500, 1, 3)).astype(np.float32)
    w, b = (numpy_helper.to_array(constant(n, *s)) for n, s in (("w", (3, 2)), ("b", (2,))))
    got = runtime.run(x)
    assert got.shape == (2500, 2) and got.dtype == np.float32
    np.testing.assert_allclose(got, np.maximum(x[:, 0] @ w + b, 0), rtol=1e-5, atol=1e-6)
    assert runtime.input_shape == (1, 3)


def test_runtime_does_not_trust_a_dynamic_axis_that_mixes_rows() -> None:
    """The first axis is declared free, but the model subtracts the mean over it."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0]),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]
    runtime = Runtime(model(nodes, ("N", 3)))
    x = np.random.default_rng(0).normal(size=(5, 1, 3)).astype(np.float32)
    np.testing.assert_array_equal(runtime.run(x), np.zeros((5, 3)))


def test_runtime_refuses_other_shapes() -> None:
    runtime = Runtime(small())
    for shape in ((2, 3), (2, 1, 4), (0, 1, 3)):
        with pytest.raises(UsageError, match="x"):
            runtime.run(np.zeros(shape, dtype=np.float32))
