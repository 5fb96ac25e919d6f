"""The commands that put models and defences side by side: `evaluate` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmoved.cli.app import app
from unmoved.cli.command import Command
from unmoved.cli.options import (
    KEPT,
    Alpha,
    Clip,
    DataOpt,
    Device,
    Grid,
    Json,
    Limit,
    NoiseOpt,
    Out,
    Samples,
    Seconds,
    Seed,
    Sigma,
    StoreOpt,
    Weights,
    XName,
    YName,
)

EXTRA = "Beyond the data"


@app.command(cls=Command)
def evaluate(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Models: .onnx files, or package.module:factory.")
    ],
    data: DataOpt,
    threat: Annotated[
        list[str] | None,
        typer.Option("--threat", help="As for certify. Several, of any norms: linf:0.1, l2:0.5. Default: linf:8/255."),
    ] = None,
    sizes: Annotated[
        int, typer.Option(help="Sizes of each threat: K equal parts of it up to the whole.", metavar="K")
    ] = 1,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="As for certify. Several are set side by side. Default: auto."),
    ] = None,
    clip: Clip = None,
    attack: Annotated[bool, typer.Option("--attack/--no-attack", help="Attack at every size as well.")] = True,
    sigma: Sigma = None,
    noise: NoiseOpt = None,
    samples: Samples = None,
    alpha: Alpha = "0.001",
    grid: Grid = 255,
    device: Device = "cpu",
    ood: Annotated[
        Path | None,
        typer.Option(help="An .npz file with inputs x from elsewhere: are they told apart?", rich_help_panel=EXTRA),
    ] = None,
    corruptions: Annotated[
        str | None,
        typer.Option(help="all, or names such as fog,jpeg_compression: corrupt the images.", rich_help_panel=EXTRA),
    ] = None,
    severities: Annotated[str, typer.Option(help="How strongly, from 1 to 5.", rich_help_panel=EXTRA)] = "1,2,3,4,5",
    corrupted: Annotated[
        Path | None,
        typer.Option(help="A folder of .npy files as CIFAR-10-C or MNIST-C have them.", rich_help_panel=EXTRA),
    ] = None,
    limit: Limit = None,
    weights: Weights = None,
    x_name: XName = "x",
    y_name: YName = "y",
    seed: Seed = 0,
    seconds: Seconds = None,
    store: StoreOpt = None,
    out: Out = Path("unmoved-out"),
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Let claims through that the checker cannot check yet, marked so.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure models and methods on the same inputs, everything with its interval, and write a page that compares them.

    Certified, attacked and selective accuracy by radius, calibration, foreign inputs, corruptions. Run it again after
    an interruption: it resumes where it stopped.
    """
    from unmoved.cli.evaluate import Asked, evaluate_command
    from unmoved.evaluate.methods import Sampling

    asked = Asked(
        models,
        data,
        threat or ["linf:8/255"],
        sizes,
        method or ["auto"],
        clip,
        Sampling(sigma, samples, alpha, grid, noise=noise, device=device),
        attack,
        ood,
        corruptions,
        severities,
        corrupted,
        limit,
        weights,
        x_name,
        y_name,
        seed,
        seconds,
        store,
        out,
        unchecked,
    )
    raise typer.Exit(evaluate_command(asked, as_json=as_json))


@app.command(cls=Command)
def compare(
    run: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Stores, or --out folders of evaluate, certify and attack.")
    ],
    out: Annotated[Path, typer.Option(help="The HTML file to write.", rich_help_panel=KEPT)] = Path("comparison.html"),
    title: Annotated[str | None, typer.Option(help="Title of the page.", rich_help_panel=KEPT)] = None,
    as_json: Json = False,
) -> None:
    """Write the leaderboard of what some runs hold: only inputs that all of them answered are compared."""
    from unmoved.cli.evaluate import compare_command

    raise typer.Exit(compare_command(run, out, title, as_json=as_json))
