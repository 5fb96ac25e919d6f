"""docs/methods.md and --help name every method, and every method answers by its name."""

import re
from pathlib import Path

import pytest

from unmoved.core import UsageError
from unmoved.evaluate.methods import METHODS, Sampling, certifying
from unmoved.refine.oracle import required
from unmoved.threats import Linf

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()


def test_the_page_has_one_row_a_method():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted([*METHODS, "smoothing"])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_name_that_it_is_called_by(name):
    method, function = certifying(name, Linf("0.1"), Sampling())
    assert method.name == name and function == "f"


def test_help_names_every_method(unmoved_help):
    assert all(name in unmoved_help for name in [*METHODS, "smoothing"])


@pytest.fixture
def unmoved_help():
    import typer.main

    from unmoved.cli.app import app

    (option,) = (p for p in typer.main.get_command(app).commands["certify"].params if p.name == "method")
    return option.help


def test_a_missing_extra_is_named():
    with pytest.raises(UsageError, match=r"unmoved\[smt\]"):
        required("smt", "no_such_package_anywhere")
