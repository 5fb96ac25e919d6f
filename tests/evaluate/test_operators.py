"""The page of operators is what the tables say now."""

from __future__ import annotations

from pathlib import Path

from unmoved.evaluate.operators import page
from unmoved.ops import RULES

DOCS = Path(__file__).parents[2] / "docs" / "operators.md"


def test_the_page_is_current() -> None:
    assert DOCS.read_text() == page(), "make it anew: python -m unmoved.evaluate.operators > docs/operators.md"


def test_every_operator_says_what_is_supported() -> None:
    for name, rule in RULES.items():
        line = next(line for line in page().splitlines() if line.startswith(f"| `{name}` |"))
        assert rule.family in line and len(line.split("|")[3]) > 3
