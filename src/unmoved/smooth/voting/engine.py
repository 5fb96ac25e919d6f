"""The base classifier made fast, while it stays one fixed function of its input.

A certificate is about g, the smoothed version of the function that is really evaluated. So whatever changes that
function in the last bits is part of a Setup, is said by `Engine.name`, and is the same for predicting and certifying:
the precision, batch normalisation merged into the layer before, the size of a batch, a compiler, the device. Nothing in
it is chosen by the clock: a run taken up again tomorrow evaluates the same function. Sums are never split by threads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmoved import ops
from unmoved.core.errors import UnsupportedError, UsageError
from unmoved.ir import Network
from unmoved.ir.passes import fold_batch_norm
from unmoved.loaders.runtime import Runtime
from unmoved.ops.device import reachable
from unmoved.smooth.voting import kernels
from unmoved.smooth.voting.sampling import same_at_every_position

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

WORTH_COMPILING = 1_000_000
"""Below this many forwards a compiler costs more time than it saves."""

_ROOM = 4 * 2**20
"""The largest value of a batch shall take fewer bytes: caches hold it, and it is no new memory each time (a ResNet-20
in batches of 128 spent a sixth of its time on fresh pages; of 64, none)."""

_LEAST, _MOST = 16, 512

_USUAL, _HARMLESS = 1024.0, 1e37
"""Inputs of this size at most, and values of that size at most, cannot become infinite: float32's largest is 3.4e38."""


@dataclass(frozen=True)
class Setup:
    """How the base classifier is evaluated: part of what a certificate speaks about.

    `precision`: float32, or bfloat16 where the processor has it (about twice as fast; the classifier that is certified
    is then the one in bfloat16). `fold`: batch normalisation merged into the layer before. `batch`: copies at a time; 0
    for a size that follows from the network. `compiled`: by torch.compile. `device`: "cpu", or torch's name of another.
    """

    precision: str = "float32"
    fold: bool = True
    batch: int = 0
    compiled: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError("precision", self.precision, " or ".join(PRECISIONS))
        if isinstance(self.batch, bool) or not isinstance(self.batch, int) or self.batch < 0:
            raise UsageError("batch", self.batch, "an integer >= 1, or 0 for one that fits the network")
        reachable(self.device)
        if self.precision == "bfloat16" and not has_bfloat16(self.device):
            raise UsageError("precision", self.precision, f"float32: {self.device} has no instructions for bfloat16")
        if self.compiled and not has_compiler():
            raise UsageError("compiled", True, "False: there is no C++ compiler here for torch.compile to use")

    def for_forwards(self, number: int, network: Network) -> Setup:
        """Return the setup for so many forwards of a network: compiled where that pays and can be done.

        It pays in float32 (8 % on a ResNet-20), not in bfloat16 (-1 to +3 %) nor on nets as small as an MNIST CNN.
        """
        pays = self.precision == "float32" and number >= WORTH_COMPILING and largest_value(network) >= 2**13
        return replace(self, compiled=pays and has_compiler())


def precision_of(name: str) -> str:
    """Return the precision that an `Engine.name` begins with; float32 for any other text."""
    said = name.partition(",")[0]
    return said if said in PRECISIONS else Setup.precision


def has_bfloat16(device: str = "cpu") -> bool:
    """Return whether the device computes in bfloat16 itself (elsewhere it is emulated, slower than float32)."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def has_compiler() -> bool:
    """Return whether torch.compile finds a C++ compiler."""
    named = os.environ.get("CXX", "")
    return any(shutil.which(name) for name in (named, "c++", "g++", "clang++") if name)


class Engine:
    """f as a function of float32 rows (B, *anything with as many elements as an input): float32 logits (B, classes).

    Whatever B is, the network sees batches of one size, `batch`: a row's logits do not depend on how it is asked for.
    """

    def __init__(self, network: Network, setup: Setup = Setup()) -> None:
        self.network, self.setup = network, setup
        self.classes, self.model = network.outputs, network.digest
        self.batch = setup.batch or batch_for(network, setup)
        self._evaluate, self.runs = self._prepared()
        self._folds = setup.fold and self.runs.startswith("torch") and "BatchNormalization" in network.operators

    def _prepared(self) -> tuple[Any, str]:
        """Return the function to call, and who runs it."""
        dtype = PRECISIONS[self.setup.precision]
        network = fold_batch_norm(self.network) if self.setup.fold else self.network
        try:
            bound = ops.bind(network, dtype=dtype, device=self.setup.device)
        except UnsupportedError as error:
            if self.setup != replace(Setup(), fold=self.setup.fold, batch=self.setup.batch):
                expected = f"one in float32 on the cpu: only onnxruntime can run this model ({error.operator})"
                raise UsageError("setup", self.setup, expected) from error
            runtime = Runtime(self.network.source)
            return lambda z: torch.from_numpy(runtime.run(z.cpu().numpy())), f"onnxruntime {runtime.version}"
        packed = 0 if self.setup.compiled or not kernels.packs(dtype, self.setup.device) else self.batch
        plan = careful = kernels.steps(bound, network, packed=packed)
        if dtype == torch.bfloat16 and not self.setup.compiled and self.setup.device == "cpu":
            exact = ops.bind(network, dtype=torch.float64)
            if kernels.largest(exact, network, _USUAL) < _HARMLESS:
                plan = kernels.steps(bound, network, tame=True, packed=packed)
        image = len(self.network.input_shape) == 4 and self.network.input_shape[0] == 1

        def evaluate(z: Tensor) -> Tensor:
            # both plans give finite rows the same values: only NaNs, and the sign of a zero, tell them apart
            chosen = plan if plan is careful or _usual(z) else careful
            if image:
                z = z.squeeze(1).to(dtype, memory_format=torch.channels_last).unsqueeze(1)
            return kernels.walk(chosen, network, z.to(dtype)).flatten(1).float()

        run = torch.compile(evaluate, dynamic=False) if self.setup.compiled else evaluate
        return run, f"torch {torch.__version__}"

    @property
    def name(self) -> str:
        """The function that is evaluated, in words: what certificates and predictions alike are about."""
        said = [self.setup.precision, f"batch {self.batch}"]
        said += ["batch norm folded"] if self._folds else []
        said += ["compiled"] if self.setup.compiled else []
        return ", ".join([*said, self.runs, self.setup.device])

    def __call__(self, z: Tensor) -> Tensor:
        """Return the logits of any number of rows, evaluated `batch` at a time, the last batch filled up with row 0.

        UsageError for rows of another number of elements than an input has.
        """
        shape = self.network.input_shape
        if not len(z) or prod(z.shape[1:]) != prod(shape):
            raise UsageError("z", tuple(z.shape), f"rows of {prod(shape)} elements")
        rows = z.reshape(len(z), *shape)
        with one_thread(), torch.inference_mode():
            return torch.cat([self._logits(part) for part in torch.split(rows, self.batch)])

    def _logits(self, rows: Tensor) -> Tensor:
        """Return the logits of at most `batch` rows."""
        number = len(rows)
        if number < self.batch:
            rows = torch.cat([rows, rows[:1].expand(self.batch - number, *rows.shape[1:])])
        logits: Tensor = self._evaluate(rows.to(self.setup.device))
        return logits[:number].cpu()

    def __reduce__(self) -> tuple[Any, ...]:
        return prepare, (self.network, replace(self.setup, batch=self.batch))


def _usual(z: Tensor) -> bool:
    """Return whether no element is a NaN or larger than _USUAL."""
    low, high = torch.aminmax(z)
    return float(low) >= -_USUAL and float(high) <= _USUAL


def prepare(network: Network, setup: Setup = Setup()) -> Engine:
    """Return the network as an engine whose outputs for an input are the same at every place of a batch.

    Tried on a fixed input; UsageError when they differ, for then f would be no function of z.
    """
    engine = Engine(network, setup)
    row = torch.linspace(0, 1, prod(network.input_shape)).reshape(network.input_shape)
    require_fixed(engine, row, engine.batch)
    return engine


def require_fixed(classify: Any, row: Tensor, batch: int) -> None:
    """Raise UsageError when the outputs for `row` depend on its place in a batch or on its neighbours."""
    if batch > 1 and not same_at_every_position(classify, row, batch):
        expected = "one whose outputs for an input do not depend on its place in a batch; batch=1 may do"
        raise UsageError("classifier", _called(classify), expected)


def _called(classify: Any) -> str:
    return classify.name if isinstance(classify, Engine) else type(classify).__name__


def batch_for(network: Network, setup: Setup) -> int:
    """Return a power of two from 16 to 512: as many copies as keep the largest value of the network below 4 MiB.

    It follows from the network alone, never from a clock: the batch is part of what is evaluated.
    """
    size = (_ROOM - 1) // (largest_value(network) * PRECISIONS[setup.precision].itemsize)
    return max(_LEAST, min(_MOST, 1 << max(size, 1).bit_length() - 1))


def largest_value(network: Network) -> int:
    """Return the number of elements of the largest value of the network, at batch size 1."""
    made = [network.input, *(name for node in network.nodes for name in node.outputs if name)]
    return max(prod(network.shapes[name]) for name in made if name in network.shapes)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch from splitting sums among threads for a while."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
