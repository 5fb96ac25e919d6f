"""Mistakes on the command line become one line each, in which every argument has the name that the user typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand

from unmoved.core import UsageError

KINDS = {"int": "a whole number", "float": "a number", "bool": "nothing: it is a switch"}
OTHER = {"example_shape": "input_shape", "store": "path"}
"""Names of the Python interface, and what the same is called where a command has no such name."""


class Command(TyperCommand):
    """A command whose usage errors speak of `--threat` and `MODEL`, not of `threat` and `model`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a UsageError of the rooms below leaves with the name and the value as typed."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            raise as_typed(error, self.params, ctx.params) from error


def as_typed(error: UsageError, parameters: list[Any], values: Mapping[str, Any]) -> UsageError:
    """Return the same error in the words of the command line.

    The arrays of a data file are named as such. A number that was read from text is shown as that text.
    """
    names = {parameter.name: typed(parameter) for parameter in parameters}
    argument = error.argument if error.argument.startswith("-") else error.argument.replace("-", "_")
    if argument not in names:
        argument = OTHER.get(argument, argument)
    for key in ("x", "y"):
        array = values.get(f"{key}_name")
        if argument in (key, array) and argument not in names and array is not None:
            return UsageError(f"--data, array {array}", error.value, error.expected)
    given = values.get(argument)
    value = given if isinstance(given, str) and not isinstance(error.value, str | None) else error.value
    return UsageError(names.get(argument, argument), value, error.expected)


def typed(parameter: Any) -> str:
    """Return a parameter's name as it is typed: `--threat`, or `MODEL`."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(max(parameter.opts, key=len))


def complaint(error: typer.TyperException) -> str:
    """Return what is wrong with the arguments themselves (unknown, missing, not a number), in one line."""
    parameter, context = getattr(error, "param", None), getattr(error, "ctx", None)
    seen = f" (see {context.command_path} --help)" if context is not None else ""
    if not isinstance(error, typer.BadParameter) or parameter is None:
        return " ".join(error.format_message().split()).rstrip(".") + seen
    # the value that was refused is known to the validator only
    refused: list[dict[str, object]] = getattr(error.__cause__, "errors", list)()
    if refused:
        kind = KINDS.get(getattr(parameter.type_descriptor.annotation, "__name__", ""), "a value of another kind")
        return str(UsageError(typed(parameter), refused[0]["input"], kind)) + seen
    if error.message:
        return f"{typed(parameter)}: {error.message}{seen}"
    return str(UsageError(typed(parameter), None, _first_sentence(parameter.help or "a value"))) + seen


def _first_sentence(text: str) -> str:
    first = text.split(". ")[0].rstrip(".")
    return first[:1].lower() + first[1:]
