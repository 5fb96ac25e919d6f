"""onnxruntime behind one small class: the reference that every load is compared with, and that witnesses quote."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from unmoved.core.errors import LoadError, UsageError

FAILURES = (
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
    state.RuntimeException,
)
"""Everything that onnxruntime raises; its exceptions have no base of their own."""

_TYPES: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
}
_CHUNK = 1024


def first_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def session(source: bytes, *, optimise: bool = True) -> onnxruntime.InferenceSession:
    """Return a session on one CPU thread; LoadError when onnxruntime cannot run the model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except FAILURES as error:
        raise LoadError(f"onnxruntime cannot run this model: {first_line(error)}") from error


def input_of(running: onnxruntime.InferenceSession) -> tuple[str, type[np.floating[Any]], tuple[int, ...], bool]:
    """Return name, type and shape at batch size 1 of a session's one input, and whether its first axis is dynamic."""
    inputs = running.get_inputs()
    if len(inputs) != 1:
        raise LoadError(f"the model has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}), expected one")
    given = inputs[0]
    if given.type not in _TYPES:
        raise LoadError(f"the input {given.name} is {given.type}, expected a tensor of floats")
    free = [not isinstance(n, int) or n <= 0 for n in given.shape]
    shape = tuple(1 if f else n for f, n in zip(free, given.shape, strict=True))
    return given.name, _TYPES[given.type], shape, bool(free) and free[0]


class Runtime:
    """An ONNX model in onnxruntime: one thread, CPU, the same answer for the same input.

    A model with a fixed batch size runs row by row; one with a dynamic batch runs in chunks, once two rows together
    have given what each gives alone. A row's result in a chunk may differ in its last bits from the row alone: what is
    to be reproduced elsewhere is to be run with a batch of one.
    """

    version: str = onnxruntime.__version__

    def __init__(self, source: bytes) -> None:
        self._session = session(source)
        self._name, self.dtype, self.input_shape, dynamic = input_of(self._session)
        self._output = self._session.get_outputs()[0].name
        self._batches: bool | None = None if dynamic else False

    def _call(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._session.run([self._output], {self._name: values})[0])
        except FAILURES as error:
            raise LoadError(f"onnxruntime cannot run this model: {first_line(error)}") from error

    def _together(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Return (B, outputs) for (B, *input_shape) of a dynamic batch; None where the answer has another size."""
        try:
            result = self._call(rows.reshape(len(rows), *self.input_shape[1:]))
        except LoadError:
            return None
        return result.reshape(len(rows), -1) if result.ndim and result.shape[0] == len(rows) else None

    def _alone(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.stack([self._call(row).reshape(-1) for row in rows])

    def _may_batch(self, rows: npt.NDArray[Any]) -> bool:
        """Find out once whether rows of a batch are independent, as a dynamic axis promises."""
        if self._batches is None:
            pair, alone = self._together(rows[:2]), self._alone(rows[:2])
            scale = 1e-4 * (1 + float(np.abs(alone).max(initial=0.0)))
            self._batches = pair is not None and pair.shape == alone.shape and np.allclose(pair, alone, 0, scale, True)
        return self._batches

    def run(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return (B, outputs), the first output flattened, in the model's own type, for x of (B, *input_shape).

        Raises UsageError for another shape, LoadError when onnxruntime fails.
        """
        if x.shape[1:] != self.input_shape or not len(x):
            raise UsageError("x", x.shape, f"the shape (B, {', '.join(map(str, self.input_shape))}) with B >= 1")
        rows = np.ascontiguousarray(x, dtype=self.dtype)
        if len(rows) == 1 or not self._may_batch(rows):
            return self._alone(rows)
        chunk = max(1, min(_CHUNK, 2**24 // max(prod(self.input_shape), 1)))
        parts = [self._together(rows[i : i + chunk]) for i in range(0, len(rows), chunk)]
        done = [part for part in parts if part is not None]
        return np.concatenate(done) if len(done) == len(parts) else self._alone(rows)
