"""The commands of a VNN-LIB solver: `verify`, `supports`, `--name`, `--version`; and `bench` to run many queries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmoved.cli import console
from unmoved.cli.app import app
from unmoved.cli.command import Command
from unmoved.cli.options import Seed, SemanticsOpt
from unmoved.core import Semantics, UsageError

NAME = "unmoved"

MethodOpt = Annotated[
    str | None, typer.Option(help="One method for the proofs. Default: all that there are, cheap to dear.")
]
Unchecked = Annotated[
    bool, typer.Option("--unchecked", help="Let answers through that the checker cannot check yet; stderr says so.")
]
Real = Annotated[
    bool,
    typer.Option("--real", help="Take declared element types, such as float32, as real numbers (VNN-LIB 2.0)."),
]


def _say_name(wanted: bool) -> None:
    if wanted:
        console.emit(NAME)
        raise typer.Exit


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        console.emit(version("unmoved"))
        raise typer.Exit


@app.callback()
def options(
    name: Annotated[
        bool, typer.Option("--name", callback=_say_name, is_eager=True, help="Print the solver's name.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command(cls=Command)
def verify(
    query: Annotated[Path, typer.Argument(metavar="QUERY", help="A .vnnlib file, version 1.0 or 2.0 (also .gz).")],
    network: Annotated[
        list[str],
        typer.Option(metavar="MODEL", help="The network of the query, or NAME=MODEL with its name there."),
    ],
    timeout: Annotated[float | None, typer.Option(help="Seconds of wall time, then `timed-out`.")] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the certificates there, for `unmoved check DIR`.")
    ] = None,
    serialise_assignments: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write an assignment as NAME.pb there, not to stdout.")
    ] = None,
    method: MethodOpt = None,
    seed: Seed = 0,
    memory: Annotated[float | None, typer.Option(help="Gigabytes of memory at most, then `unknown`.")] = None,
    unchecked: Unchecked = False,
    real: Real = False,
    semantics: SemanticsOpt = None,
) -> None:
    """Answer a VNN-LIB query: the first line of stdout is sat, unsat, unknown or timed-out.

    unsat only with certificates that the independent checker accepted, sat only with a witness that it accepted.
    """
    from unmoved.cli.start import quick_imports

    with quick_imports():
        from unmoved.answer import Terms
        from unmoved.cli.verify import Order, method_named, verify_command

    if len(network) != 1:
        raise UsageError("network", network, "--network once: queries about one network are answered")
    meant = Semantics.of(semantics or "real")
    order = Order(query, network[0], timeout, certificate, serialise_assignments, memory)
    raise typer.Exit(verify_command(order, Terms(method_named(method), seed, unchecked, real, meant)))


@app.command(cls=Command, context_settings={"ignore_unknown_options": True})
def supports(
    capability: Annotated[
        str, typer.Argument(metavar="CAPABILITY", help="--onnx-operators, --vnnlib-versions and the others.")
    ],
) -> None:
    """Say what `verify` can answer, in the words of the VNN-LIB standard (section 5.4)."""
    from unmoved.cli.capabilities import capability as lines

    for line in lines(capability.removeprefix("--")):
        console.emit(line)


@app.command(cls=Command)
def bench(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with instances.csv (and expected.csv).")],
    timeout_factor: Annotated[float, typer.Option(help="Multiplies every timeout.")] = 1.0,
    limit: Annotated[int | None, typer.Option(help="Only the first K instances.", metavar="K")] = None,
    only: Annotated[str, typer.Option(help="Only instances whose file names contain this.")] = "",
    memory: Annotated[float, typer.Option(help="Gigabytes of memory for each instance.")] = 8.0,
    certificate: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the certificates there.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the outcomes as JSON.")] = None,
    method: MethodOpt = None,
    unchecked: Unchecked = False,
    real: Real = False,
) -> None:
    """Run the instances of a folder one by one, compare with the known answers: exit 1 if one is wrong."""
    from unmoved.cli.bench import Plan, bench_command

    flags = (["--method", method] if method else []) + ["--unchecked"] * unchecked + ["--real"] * real
    plan = Plan(timeout_factor, limit, only, memory, certificate, tuple(flags))
    raise typer.Exit(bench_command(folder, plan, out))
