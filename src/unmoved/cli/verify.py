"""`unmoved verify`: answer a VNN-LIB query as the standard's command line asks; stdout starts with the answer."""

from __future__ import annotations

import gzip
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unmoved.answer import Answer, Terms, Word, answer
from unmoved.cli import console
from unmoved.core import Budget, Method, UsageError
from unmoved.ir import Network
from unmoved.loaders import load_onnx
from unmoved.loaders.query import Query
from unmoved.loaders.vnnlib import load_vnnlib
from unmoved.record import write_bundle

_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)=(.+)")
_EXHAUSTED = re.compile(r"allocat|out of memory", re.IGNORECASE)


@dataclass(frozen=True)
class Order:
    """One query to answer, as typed: the model as [NAME=]PATH, seconds, and where certificates and assignments go."""

    query: Path
    network: str
    timeout: float | None
    certificate: Path | None
    assignments: Path | None
    memory: float | None


class Voice:
    """Says the first line of stdout once: the answer, or `timed-out` when the time is over before there is one."""

    def __init__(self, seconds: float | None) -> None:
        self._lock = threading.Lock()
        self._said = False
        self._timer = None if seconds is None else threading.Timer(seconds, self._late)
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()

    def say(self, text: str) -> None:
        """Write the answer to stdout, unless something was said before."""
        with self._lock:
            if not self._said:
                self._said = True
                console.emit(text)

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()

    def _late(self) -> None:
        with self._lock:
            if self._said:
                return
            self._said = True
            console.emit(Word.TIMED_OUT)
            sys.stderr.flush()
            # the search may be deep inside a long computation, and nobody waits for it any more
            os._exit(console.OK)


def verify_command(order: Order, terms: Terms) -> int:
    """Answer one query on stdout and return the exit code; all that is for people goes to stderr.

    Raises UsageError and LoadError for wrong arguments and files, before anything is written to stdout.
    """
    if order.timeout is not None and not order.timeout > 0:
        raise UsageError("timeout", order.timeout, "a number of seconds > 0")
    voice = Voice(order.timeout)
    try:
        budget = Budget() if order.timeout is None else Budget(order.timeout)
        if order.memory is not None:
            limit_memory(order.memory)
        query, network = load_vnnlib(order.query), _model(order)
        _same_name(query, order.network)
        found = _answer(query, network, budget, terms)
        # the certificates lie on disk before the answer that rests on them is given
        if order.certificate is not None:
            _keep(found, network, order)
        if found.word is Word.SAT and order.assignments is not None:
            _serialise(found, query, network, order.assignments)
        lines = [found.word.value]
        if found.word is Word.SAT and order.assignments is None:
            lines += assignment(found, query)
        voice.say("\n".join(lines))
    finally:
        voice.close()
    if found.unchecked:
        console.warn("the checker does not know an operator of this model: nobody has checked the answer")
    console.note(found.why)
    return console.OK


def method_named(name: str | None) -> Method | None:
    """Return the method of this name, None for None; UsageError for a name that there is not."""
    if name is None:
        return None
    # brings smoothing along, and with it a second of imports that no other query needs
    from unmoved.evaluate.methods import METHODS

    if name not in METHODS:
        raise UsageError("method", name, "one of " + ", ".join(METHODS))
    return METHODS[name]()


def _answer(query: Query, network: Network, budget: Budget, terms: Terms) -> Answer:
    """Answer the query; too little memory is `unknown`."""
    try:
        return answer(query, network, budget, terms)
    except MemoryError:
        return Answer(Word.UNKNOWN, "the memory did not suffice")
    except RuntimeError as error:
        # torch has no exception of its own for memory that it does not get on a CPU
        if not _EXHAUSTED.search(str(error)):
            raise
        return Answer(Word.UNKNOWN, "the memory did not suffice")


def limit_memory(gigabytes: float) -> None:
    """Cap this process's memory; UsageError for a number that is not > 0. Without effect on Windows."""
    if not gigabytes > 0:
        raise UsageError("memory", gigabytes, "a number of gigabytes > 0")
    try:
        import resource
    except ImportError:
        console.warn("--memory has no effect on this system")
        return
    size = int(gigabytes * 1e9)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def _split(text: str) -> tuple[str, str]:
    found = _NAMED.fullmatch(text)
    if found is None or Path(text).is_file():
        return "", text
    return found[1], found[2]


def _model(order: Order) -> Network:
    path = Path(_split(order.network)[1])
    if not path.is_file():
        raise UsageError("network", str(path), "[NAME=]MODEL.onnx, an existing file")
    if path.suffix == ".gz":
        try:
            return load_onnx(gzip.decompress(path.read_bytes()))
        except (OSError, EOFError) as error:
            raise UsageError("network", str(path), "a readable .gz file") from error
    return load_onnx(path)


def _same_name(query: Query, network: str) -> None:
    given = _split(network)[0]
    if given and query.name and given != query.name:
        raise UsageError("network", network, f"the network's name in the query, {query.name}=MODEL.onnx")


def assignment(found: Answer, query: Query) -> Iterator[str]:
    """Yield the lines of a satisfying assignment: VNN-COMP's form for version 1.0, the standard's for 2.0."""
    assert found.point is not None and found.output is not None
    values = [(query.input, found.point.reshape(-1)), (query.outputs[0], found.output.reshape(-1))]
    if query.version.startswith("1."):
        pairs = [f"({said.name}_{i} {exact(v)})" for said, array in values for i, v in enumerate(array)]
        pairs[0], pairs[-1] = "(" + pairs[0], pairs[-1] + ")"
        yield from pairs
        return
    for said, array in values:
        yield f"{said.name} {said.type} [{','.join(map(str, said.shape))}]"
        yield from map(exact, array)


def exact(value: np.float32) -> str:
    """Write a float32 as the decimal that it is, every digit: what is read back lies where the float does."""
    return format(Decimal(float(value)), "f")


def _keep(found: Answer, network: Network, order: Order) -> None:
    """Write every certificate as a bundle, and the model once beside them: what `unmoved check DIR` reads."""
    folder = order.certificate
    assert folder is not None
    _make(folder, "certificate")
    if found.certificates:
        (folder / "model.onnx").write_bytes(network.source)
    for i, certificate in enumerate(found.certificates):
        if certificate.manifest is not None and certificate.payload is not None:
            write_bundle(folder / f"case-{i:05d}.zip", certificate.manifest, certificate.payload)


def _serialise(found: Answer, query: Query, network: Network, folder: Path) -> None:
    """Write an assignment as one serialised TensorProto a variable, NAME.pb, of the type and shape of the model."""
    from onnx import numpy_helper

    assert found.point is not None and found.output is not None
    _make(folder, "serialise_assignments")
    shapes = {query.input: network.input_shape, query.outputs[0]: network.shapes[network.output]}
    for said, array in ((query.input, found.point), (query.outputs[0], found.output)):
        shape = shapes[said] if query.version.startswith("1.") else said.shape
        values: npt.NDArray[np.float32] = np.ascontiguousarray(array, dtype=np.float32).reshape(shape)
        data = numpy_helper.from_array(values, said.name).SerializeToString()
        (folder / f"{said.name}.pb").write_bytes(data)


def _make(folder: Path, argument: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(argument, str(folder), f"a folder that can be written ({error.strerror})") from error
