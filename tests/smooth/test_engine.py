"""The engine: the folded network against float64 and onnxruntime; one function whatever the batch, or the workers."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from unmoved.core.errors import UnmovedError, UsageError
from unmoved.ir.passes import fold_batch_norm
from unmoved.loaders import load_onnx, load_torch
from unmoved.loaders.runtime import Runtime
from unmoved.ops import bind, evaluate
from unmoved.smooth import Gaussian, Smoothed, Stream, VoteCounter, same_at_every_position
from unmoved.smooth.voting import engine as rooms
from unmoved.smooth.voting.crew import Crew
from unmoved.smooth.voting.engine import Engine, Setup, batch_for, has_bfloat16, prepare, require_fixed
from unmoved.smooth.voting.kernels import largest

torch.set_num_threads(1)
NOISE = Gaussian("1/4")
STREAM = Stream(b"e" * 32)
SETUPS = [Setup(), Setup(fold=False), Setup(batch=33)]
SETUPS += [Setup("bfloat16"), Setup("bfloat16", batch=100)] if has_bfloat16() else []


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        return self.pool(torch.relu(self.inner(x) + x))


def network(seed=4):
    """Conv, BatchNormalization, a residual, pooling, Gemm with BatchNormalization: whatever the engine treats apart."""
    torch.manual_seed(seed)
    start = nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), Residual(), nn.Flatten()
    module = nn.Sequential(*start, nn.Linear(64, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 5)).eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.3, 3)
            part.weight.data.normal_()
            part.bias.data.normal_()
    return module


@pytest.fixture(scope="module")
def loaded():
    return load_torch(network(), (1, 2, 16, 16))


def rows(number, seed=1):
    return torch.rand(number, 1, 2, 16, 16, generator=torch.Generator().manual_seed(seed))


def built(nodes, constants, shape, out):
    """An ONNX model of one input and output, of nodes (operator, inputs, output, attributes)."""
    made = [helper.make_node(op, inputs, [output], **kwargs) for op, inputs, output, kwargs in nodes]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", out))]
    values = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(made, "g", ends[:1], ends[1:], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return load_onnx(model.SerializeToString())


def test_folded_network_is_the_same_function_in_float64(loaded):
    """The only difference is the rounding of the merged constants to float32: 2^-24 each."""
    folded = fold_batch_norm(loaded)
    assert "BatchNormalization" in loaded.operators and "BatchNormalization" not in folded.operators
    assert (folded.digest, folded.source) == (loaded.digest, loaded.source)
    x = rows(16).double()
    outputs = [evaluate(bind(net, dtype=torch.float64), net, x).flatten(1) for net in (loaded, folded)]
    scale = outputs[0].abs().max()
    assert 0 < (outputs[0] - outputs[1]).abs().max() < 30 * 2**-24 * scale


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("scalar", [False, True])
def test_gemm_with_factors_is_folded(flip, scalar):
    """alpha, beta, transB and a bias of one number, against onnxruntime, which reads the original."""
    draw = np.random.default_rng(flip)
    constants = {"w": draw.normal(size=(4, 6) if flip else (6, 4)), "c": draw.normal(size=(1,) if scalar else (4,))}
    constants |= {
        "g": draw.normal(size=4),
        "b": draw.normal(size=4),
        "m": draw.normal(size=4),
        "v": draw.random(4) + 0.1,
    }
    gemm = ("Gemm", ["x", "w", "c"], "h", {"alpha": 0.5, "beta": -2.0, "transB": flip})
    net = built([gemm, ("BatchNormalization", ["h", *"gbmv"], "y", {"epsilon": 0.01})], constants, [1, 6], [1, 4])
    folded = fold_batch_norm(net)
    assert folded.operators == ("Gemm",)
    x = draw.normal(size=(5, 1, 6)).astype(np.float32)
    ours = evaluate(bind(folded), folded, torch.from_numpy(x)).flatten(1).numpy()
    theirs = Runtime(net.source).run(x)
    assert np.allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_a_batch_norm_that_others_read_stays():
    """h is read by the batch norm and by the sum: merging it into the product would change the sum."""
    draw = np.random.default_rng(3)
    constants = {"w": draw.normal(size=(4, 4)), **{n: draw.random(4) + 0.5 for n in "gbmv"}}
    nodes = [
        ("Gemm", ["x", "w"], "h", {}),
        ("BatchNormalization", ["h", *"gbmv"], "n", {}),
        ("Add", ["h", "n"], "y", {}),
    ]
    net = built(nodes, constants, [1, 4], [1, 4])
    assert fold_batch_norm(net).operators == net.operators
    first = built([("BatchNormalization", ["x", *"gbmv"], "y", {})], {n: constants[n] for n in "gbmv"}, [1, 4], [1, 4])
    assert fold_batch_norm(first).operators == ("BatchNormalization",)


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_engine_against_onnxruntime(loaded, setup):
    engine, z = prepare(loaded, setup), rows(70)
    reference = Runtime(loaded.source).run(z.numpy())
    ours, scale = engine(z).numpy(), np.abs(reference).max()
    assert ours.dtype == np.float32 and ours.shape == (70, 5)
    # 5 layers of products with 2^-9 each for a bfloat16 number
    assert np.abs(ours - reference).max() < scale * (1e-5 if setup.precision == "float32" else 0.05)
    if setup.precision == "bfloat16":
        assert np.abs(ours - reference).max() > scale * 1e-5, "that was not bfloat16"


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_a_row_gets_the_same_logits_wherever_it_stands(loaded, setup):
    """At every position of a batch, in batches of any size, in any shape, with any number of threads."""
    engine, z = prepare(loaded, setup), rows(1)
    assert same_at_every_position(engine, z[0], engine.batch)
    alone = engine(z)
    for number in (2, engine.batch, engine.batch + 1, 3 * engine.batch - 1):
        crowd = rows(number, seed=2)
        crowd[-1] = z[0]
        assert torch.equal(engine(crowd)[-1:], alone)
    assert torch.equal(engine(z.reshape(1, -1)), alone) and torch.equal(engine(z[:, 0]), alone)
    torch.set_num_threads(2)
    try:
        assert torch.equal(engine(z), alone) and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_input_is_not_written_to(loaded):
    """ReLU in place must not reach the caller's rows."""
    draw = np.random.default_rng(0)
    nodes = [("Relu", ["x"], "h", {}), ("Gemm", ["h", "w"], "y", {})]
    for net in (loaded, built(nodes, {"w": draw.normal(size=(4, 3))}, [1, 4], [1, 3])):
        engine = Engine(net)
        z = torch.randn(engine.batch, *net.input_shape)
        before = z.clone()
        engine(z)
        assert torch.equal(z, before)


def test_values_read_twice_survive_in_place():
    """x W is read by a ReLU and by the sum behind it."""
    weight = np.random.default_rng(0).normal(size=(4, 4))
    nodes = [("Gemm", ["x", "w"], "h", {}), ("Relu", ["h"], "r", {}), ("Add", ["h", "r"], "y", {})]
    net = built(nodes, {"w": weight}, [1, 4], [1, 4])
    x = np.random.default_rng(1).normal(size=(8, 1, 4)).astype(np.float32)
    assert np.allclose(Engine(net)(torch.from_numpy(x)), Runtime(net.source).run(x), rtol=0, atol=1e-5)


def test_a_classifier_that_looks_at_its_neighbours_is_refused():
    for wrong in (
        lambda z: z.flatten(1) - z.flatten(1).mean(0),
        lambda z: z.flatten(1) + torch.arange(len(z))[:, None],
    ):
        with pytest.raises(UsageError, match="place in a batch"):
            require_fixed(wrong, torch.rand(4), 8)
        with pytest.raises(UsageError, match="place in a batch"):
            Smoothed(wrong, NOISE).predict(np.zeros(4, np.float32))


def test_predict_and_certify_name_the_same_function(loaded):
    x = np.zeros((2, 16, 16), np.float32)
    names = set()
    for setup in SETUPS:
        g = Smoothed(loaded, NOISE, setup=setup)
        name = g.predict(x).engine
        assert name == g.certify(x, samples=300).engine == prepare(loaded, setup).name
        assert setup.precision in name and ("folded" in name) == setup.fold
        names.add(name)
    assert len(names) == len(SETUPS)


def test_batch_follows_from_the_network_alone(loaded):
    assert batch_for(loaded, Setup()) == batch_for(loaded, Setup()) == 512
    wide = built([("Relu", ["x"], "y", {})], {}, [1, 3, 224, 224], [1, 3, 224, 224])
    assert batch_for(wide, Setup()) == 16
    middle = built([("Relu", ["x"], "y", {})], {}, [1, 16, 32, 32], [1, 16, 32, 32])
    assert batch_for(middle, Setup()) == 32  # 64 copies of 16384 x 4 bytes are 4 MiB, no less


@pytest.mark.skipif(not has_bfloat16(), reason="no bfloat16 on this processor")
def test_a_nan_inside_stays_a_nan():
    """Two infinities that cancel, and a NaN of either sign that is given, must not be made zeros on the way."""
    nodes = [("Gemm", ["x", "w"], "a", {}), ("Relu", ["a"], "r", {}), ("Gemm", ["r", "v"], "b", {})]
    nodes += [("Relu", ["b"], "y", {})]
    minus = np.array([0xFFC00000], np.uint32).view(np.float32)[0]
    for size, given, answer in (
        (1e30, [1e20, 1e20], [True, True]),  # r = (inf, inf), b = inf - inf
        (1.0, [1e20, 1e20], [False, False]),
        (1.0, [float("nan"), 0.0], [True, True]),
        (1.0, [minus, 0.0], [True, True]),
        (1.0, [2.0, 1.0], [False, False]),
    ):
        constants = {"w": np.eye(2) * size, "v": np.array([[1.0, -1.0], [-1.0, 1.0]])}
        engine = Engine(built(nodes, constants, [1, 2], [1, 2]), Setup("bfloat16"))
        z = torch.tensor(np.array([given, [3.0, 1.0]], np.float32))
        output = engine(z)
        assert output[0].isnan().tolist() == answer
        assert output[1].tolist() == [2 * size, 0.0] or size > 1


def test_bound_of_all_sums(loaded):
    """No value of the network, for any input of that size, is larger; twice the inputs, at most twice the bound."""
    bound = largest(bind(loaded, dtype=torch.float64), loaded, 3.0)
    z = torch.sign(torch.randn(200, *loaded.input_shape, generator=torch.Generator().manual_seed(0))) * 3
    names = [op.output for op in bind(loaded)]
    values = evaluate(bind(loaded), loaded, z, keep=names)
    assert max(float(value.abs().max()) for value in values.values()) <= bound < 1e6
    assert bound < largest(bind(loaded, dtype=torch.float64), loaded, 6.0) <= 2 * bound
    curved = built([("Sigmoid", ["x"], "y", {})], {}, [1, 4], [1, 4])
    assert largest(bind(curved), curved, 1.0) == float("inf")


def test_compiled_only_where_it_pays(loaded, monkeypatch):
    monkeypatch.setattr(rooms, "has_compiler", lambda: True)
    large = built([("Relu", ["x"], "y", {})], {}, [1, 16, 32, 32], [1, 16, 32, 32])
    assert Setup().for_forwards(10**6, large).compiled
    assert not Setup().for_forwards(10**6 - 1, large).compiled and not Setup().for_forwards(10**6, loaded).compiled
    monkeypatch.setattr(rooms, "has_compiler", lambda: False)
    assert not Setup().for_forwards(10**6, large).compiled
    with pytest.raises(UsageError, match="compiler"):
        Setup(compiled=True)


def test_setups_that_cannot_be(loaded, monkeypatch):
    for wrong in ({"precision": "float16"}, {"batch": -1}, {"batch": 2.0}, {"device": "tpu"}):
        with pytest.raises(UsageError):
            Setup(**wrong)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="device"):
            Setup(device="cuda")
    monkeypatch.setattr(rooms, "has_bfloat16", lambda device="cpu": False)
    with pytest.raises(UsageError, match="bfloat16"):
        Setup("bfloat16")
    with pytest.raises(UsageError, match="512 elements"):
        Engine(loaded)(torch.zeros(3, 5))


def test_an_operator_without_a_rule_runs_in_onnxruntime():
    net = built([("Cosh", ["x"], "y", {})], {}, [1, 4], [1, 4])
    engine = prepare(net)
    assert "onnxruntime" in engine.name and torch.allclose(engine(torch.zeros(2, 4)), torch.ones(2, 4))
    with pytest.raises(UsageError, match="onnxruntime"):
        Engine(net, Setup(device="cpu", compiled=True))


def test_counts_do_not_depend_on_the_number_of_workers(loaded):
    noise = Gaussian("4")
    point = noise.place(np.full((2, 16, 16), 0.5, np.float32))
    counter = VoteCounter(prepare(loaded, Setup(batch=64)), noise, 5, 64)
    single = counter.count(point, range(1000), stream=STREAM)
    assert len([n for n in single.counts if n]) > 1, "a constant answer proves nothing here"
    pieces = ((STREAM, range(100)), (Stream(b"f" * 32), range(3, 500)))
    labels = np.concatenate(list(counter.ballots(point, pieces)))
    crew = Crew(counter, 2)
    many = VoteCounter(counter.classify, noise, 5, 64, crew)
    assert many.count(point, range(1000), stream=STREAM) == single
    assert np.array_equal(np.concatenate(list(many.ballots(point, pieces))), labels)
    assert np.array_equal(np.concatenate(list(many.ballots(point, pieces, skip=128))), labels[128:])
    crew.close()


def test_a_dead_worker_is_one_clear_line_and_the_next_call_works(loaded):
    point = NOISE.place(np.full((2, 16, 16), 0.5, np.float32))
    counter = VoteCounter(prepare(loaded, Setup(batch=64)), NOISE, 5, 64)
    crew = Crew(counter, 1)
    many = VoteCounter(counter.classify, NOISE, 5, 64, crew)
    ballots = many.ballots(point, ((STREAM, range(10**6)),))
    first = next(ballots)
    (worker,) = crew._pool._processes
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(UnmovedError, match="worker process"):
        for _ in ballots:
            pass
    again = next(many.ballots(point, ((STREAM, range(64)),)))
    assert np.array_equal(first, again)
    crew.close()


PARENT = """
import sys, time
import numpy as np
from unmoved.smooth import Gaussian, Stream, VoteCounter
from unmoved.smooth.voting.crew import Crew
from unmoved.smooth.voting.adapters import Base

class First:
    def __call__(self, z):
        return (z[:, 0] > 0.5).long()

if __name__ == "__main__":
    counter = VoteCounter(First(), Gaussian("1/4"), 2, 64)
    crew = Crew(counter, 1)
    point = counter.noise.place(np.zeros(4, np.float32))
    next(VoteCounter(First(), Gaussian("1/4"), 2, 64, crew).ballots(point, ((Stream(bytes(32)), range(64)),)))
    print(*crew._pool._processes, flush=True)
    time.sleep(60)
"""


def test_workers_leave_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")


def test_a_function_that_cannot_travel_is_refused():
    with pytest.raises(UsageError, match="another process"):
        Smoothed(lambda z: z[:, :2], NOISE, jobs=2).predict(np.zeros(4, np.float32))
    for jobs in (0, 1.5, True):
        with pytest.raises(UsageError, match="jobs"):
            Smoothed(lambda z: z[:, :2], NOISE, jobs=jobs)
