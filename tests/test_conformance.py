"""The conformance cases of the package vnnlib-satisfactory, in this process: no answer of ours may be wrong.

What we do not answer is a skip with its reason, so pytest counts and says them (`pytest -rs`).
"""

from functools import cache

import pytest

from unmoved.answer import Terms, Word, answer
from unmoved.core import Budget, UnmovedError
from unmoved.loaders import load_onnx
from unmoved.loaders.vnnlib import read_vnnlib

pytest.importorskip("vnnlib", reason="the extra vnnlib is not installed")
registry = pytest.importorskip("vnntest.core.registry", reason="vnnlib-satisfactory is not installed")


CASES = {f"{case.node_type}/{case.id}": case for case in registry.get_cases(suite="full")}
KNOWN_TO_THE_AUTHORS = 100
"""At least so many are answered; fewer would mean that the suite passes by skipping."""


@cache
def said(name):
    """Our answer to a case, taken as about real numbers, and why."""
    case = CASES[name]
    spec = case.build_vnnlib_spec()
    try:
        query = read_vnnlib(spec if isinstance(spec, str) else "\n".join(spec))
        network = load_onnx(case.build_onnx_model().SerializeToString())
        found = answer(query, network, Budget(5), Terms(real=True))
    except UnmovedError as error:
        return None, str(error)
    return found.word, found.why


@pytest.mark.parametrize("name", CASES)
def test_no_wrong_answer(name):
    word, why = said(name)
    expected = CASES[name].expected_output()
    if word not in (Word.SAT, Word.UNSAT) or expected is None:
        pytest.skip(f"not answered: {why}")
    assert word == expected.lower(), why


def test_the_cases_are_there_and_most_are_answered():
    assert len(CASES) >= 170
    answered = [name for name in CASES if said(name)[0] in (Word.SAT, Word.UNSAT)]
    assert len(answered) >= KNOWN_TO_THE_AUTHORS
