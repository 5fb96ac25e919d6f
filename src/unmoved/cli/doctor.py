"""`unmoved doctor`: what a model is made of, and which methods apply to it."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from unmoved.cli import console
from unmoved.core import UsageError
from unmoved.evaluate.diagnosis import Diagnosis, diagnose
from unmoved.loaders import load


def doctor_command(model: str, weights: Path | None, input_shape: str | None, *, as_json: bool) -> int:
    """Print the diagnosis; return the exit code."""
    found = diagnose(load(model, weights=weights, input_shape=_shape(input_shape)))
    if as_json:
        console.emit(json.dumps(found.to_json(), indent=2))
        return console.OK
    console.OUT.print(f"[bold]{model}[/]  sha256 {found.digest[:16]}…", soft_wrap=True)
    outputs = "1 output" if found.outputs == 1 else f"{found.outputs} outputs"
    console.OUT.print(f"input {found.input_shape}, {outputs}, {found.parameters:,} parameters")
    console.OUT.print(_operators(found))
    for method in found.methods:
        mark = "[green]applies[/]" if method.applies else "[red]does not apply[/]"
        console.OUT.print(f"{method.name:10} {mark}: {method.why}", soft_wrap=True)
    for advice in found.advice:
        console.OUT.print(f"[yellow]to do[/]  {advice}", soft_wrap=True)
    return console.OK


def _operators(found: Diagnosis) -> Table:
    table = Table("operator", "times", "bounds", "methods", "checked by", box=None, header_style="dim")
    for operator in found.operators:
        bounds = operator.family or "[red]no rule[/]"
        checked = "exact and floating" if operator.checked else "[yellow]refused[/]"
        checked += ", float32" if operator.deployed else ""
        methods = "all bounds" if operator.methods else "[red]smoothing only[/]"
        table.add_row(operator.name, str(operator.count), bounds, methods, checked)
    return table


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError("input_shape", text, "whole numbers with commas, such as 1,1,28,28") from error
