"""The commands, their arguments and exit codes: 0 done, 1 criterion not met or certificate rejected, 2 misuse."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from unmoved.cli import console
from unmoved.cli.command import Command, complaint
from unmoved.cli.options import (
    INPUT,
    KEPT,
    SMOOTHING,
    Alpha,
    Band,
    Clip,
    Cohen,
    DataOpt,
    Device,
    FamilyOpt,
    Flip,
    Grid,
    Jobs,
    Json,
    Keep,
    LabelKnown,
    Limit,
    Mode,
    ModelArg,
    NoiseOpt,
    Out,
    Precision,
    Samples,
    Seconds,
    Seed,
    SemanticsOpt,
    Sigma,
    StoreOpt,
    ThreatOpt,
    Weights,
    XName,
    YName,
)
from unmoved.core import UnmovedError
from unmoved.core.errors import IntegrityError

app = typer.Typer(
    name="unmoved",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Prove how far an input can be pushed before a model changes its mind, and hand over the proof.\n\n"
    "Exit codes: 0 done, 1 a criterion was not met or a certificate was rejected, 2 misuse.",
)


@app.command(cls=Command)
def certify(
    model: ModelArg,
    data: DataOpt,
    threat: ThreatOpt = "linf:8/255",
    method: Annotated[
        str,
        typer.Option(
            help="auto | interval | zonotope | intersection | linear | optimised | branch | lipschitz | milp | smt | "
            "sdp | smoothing. "
            "auto: interval, linear, optimised; with --seconds also an attack and branch and bound; with --sigma "
            "smoothing. smt and sdp need the extras of these names."
        ),
    ] = "auto",
    clip: Clip = None,
    sigma: Sigma = None,
    samples: Samples = None,
    alpha: Alpha = "0.001",
    mode: Mode = None,
    cohen: Cohen = False,
    label_known: LabelKnown = False,
    family: FamilyOpt = None,
    noise: NoiseOpt = None,
    keep: Keep = None,
    band: Band = None,
    flip: Flip = None,
    grid: Grid = 255,
    precision: Precision = None,
    jobs: Jobs = None,
    device: Device = "cpu",
    semantics: SemanticsOpt = None,
    limit: Limit = None,
    require: Annotated[
        str | None, typer.Option(help='Exit with 1 unless this holds, such as "certified>=0.8".', rich_help_panel=KEPT)
    ] = None,
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
    tsv: Annotated[
        Path | None,
        typer.Option(
            help="Also write the field's log: idx label predict radius correct time.", rich_help_panel=SMOOTHING
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Certify each input of a data set, have every certificate re-checked, and keep everything.

    Run it again after an interruption: it resumes where it stopped.
    """
    from unmoved.cli.work import Choice, Request, certify_command

    request = Request(
        model,
        data,
        threat,
        clip,
        sigma,
        samples,
        alpha,
        grid,
        limit,
        weights,
        x_name,
        y_name,
        seed,
        seconds,
        store,
        out,
        Choice(mode, cohen, label_known, family, noise, keep, band, flip, precision, jobs, device),
        semantics,
    )
    raise typer.Exit(
        certify_command(request, method=method, require=require, unchecked=unchecked, tsv=tsv, as_json=as_json)
    )


@app.command(cls=Command)
def radius(
    model: ModelArg,
    data: DataOpt,
    threat: Annotated[
        str,
        typer.Option(help="The largest size to look at: linf:EPS, l2:EPS or l1:EPS, in the units of x."),
    ] = "linf:0.1",
    method: Annotated[
        str,
        typer.Option(
            help="auto | interval | zonotope | intersection | linear | optimised | branch | lipschitz | milp | smt | "
            "sdp: what has to "
            "prove a size. auto: interval, optimised; with --seconds also branch and bound."
        ),
    ] = "auto",
    clip: Clip = None,
    steps: Annotated[int, typer.Option(help="The answer is a multiple of the threat's size / 2^K.", metavar="K")] = 10,
    device: Device = "cpu",
    semantics: SemanticsOpt = None,
    limit: Limit = None,
    weights: Weights = None,
    x_name: XName = "x",
    y_name: YName = "y",
    seed: Seed = 0,
    seconds: Annotated[
        float | None, typer.Option(help="Wall time for each input: the largest size proved until then counts.")
    ] = None,
    store: StoreOpt = None,
    out: Out = Path("unmoved-out"),
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Let claims through that the checker cannot check yet, marked so.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the largest size that is proved for each input, and the least that an attack breaks: what lies between.

    Each proof and each witness is re-checked. Run it again after an interruption: it resumes where it stopped.
    """
    from unmoved.cli.radius import radius_command
    from unmoved.cli.work import Choice, Request

    request = Request(
        model,
        data,
        threat,
        clip,
        None,
        None,
        "0.001",
        255,
        limit,
        weights,
        x_name,
        y_name,
        seed,
        seconds,
        store,
        out,
        Choice(device=device),
        semantics,
    )
    raise typer.Exit(radius_command(request, method=method, steps=steps, unchecked=unchecked, as_json=as_json))


@app.command(cls=Command)
def attack(
    model: ModelArg,
    data: DataOpt,
    threat: ThreatOpt = "linf:8/255",
    clip: Clip = None,
    suite: Annotated[
        str | None,
        typer.Option(
            help="quick: PGD, annealed descent. standard (default): longer, and APGD on cross-entropy and each class. "
            "thorough: longer still, with restarts, FAB and a gradient-free attack: all that AutoAttack has."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="One plain PGD instead of a suite: its steps (40).")] = None,
    restarts: Annotated[int | None, typer.Option(help="The same: its random starts (3).")] = None,
    checks: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Look on K inputs for signs that gradients mislead the attack (50 is plenty); needs --clip.",
        ),
    ] = None,
    sigma: Sigma = None,
    samples: Samples = None,
    alpha: Alpha = "0.001",
    grid: Grid = 255,
    precision: Precision = None,
    device: Device = "cpu",
    limit: Limit = None,
    weights: Weights = None,
    x_name: XName = "x",
    y_name: YName = "y",
    seed: Seed = 0,
    seconds: Seconds = None,
    store: StoreOpt = None,
    out: Out = Path("unmoved-out"),
    as_json: Json = False,
) -> None:
    """Search for inputs that break the model (with --sigma, its smoothed version): the certificates' upper bound.

    Every witness is replayed exactly by the checker and in onnxruntime before it counts. Exit code 1: it broke what is
    certified in the same store, which is a bug of ours.
    """
    from unmoved.cli.attack import Effort, attack_command
    from unmoved.cli.work import Choice, Request

    request = Request(
        model,
        data,
        threat,
        clip,
        sigma,
        samples,
        alpha,
        grid,
        limit,
        weights,
        x_name,
        y_name,
        seed,
        seconds,
        store,
        out,
        Choice(precision=precision, device=device),
    )
    raise typer.Exit(attack_command(request, Effort(suite, steps, restarts, checks), as_json=as_json))


@app.command(cls=Command)
def check(
    path: Annotated[
        str,
        typer.Argument(metavar="BUNDLE_OR_STORE", help="A bundle, a folder of them, a store, or an --out folder."),
    ],
    exact: Annotated[bool, typer.Option("--exact", help="Integers only: slow, assumes nothing.")] = False,
    floating: Annotated[bool, typer.Option("--float", help="Floating point with rounding bounds: fast.")] = False,
    model: Annotated[Path | None, typer.Option(help="The .onnx file, when the bundle has none beside it.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first K certificates.", metavar="K")] = None,
    resample: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Smoothing certificates: draw K copies of each again, and say what that supports."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Re-check certificates by the independent checker: exit 0 only if every one is accepted."""
    from unmoved.cli.check import check_command

    if resample is not None:
        from unmoved.cli.resample import resample_command

        raise typer.Exit(resample_command(path, resample, model=model, limit=limit, as_json=as_json))
    raise typer.Exit(check_command(path, exact=exact, floating=floating, model=model, limit=limit, as_json=as_json))


@app.command(cls=Command)
def report(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store, or a run's --out folder.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Title of the report.")] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page about everything in a store."""
    from unmoved.cli.report import report_command

    raise typer.Exit(report_command(store, out, title, as_json=as_json))


@app.command(cls=Command)
def audit(
    logs: Annotated[
        list[Path], typer.Argument(metavar="LOG.tsv...", help="Logs: idx label predict radius correct time.")
    ],
    sigma: Annotated[str | None, typer.Option(help="The noise, where it is known. Default: the radii tell.")] = None,
    data_size: Annotated[
        int | None, typer.Option("--data-size", help="Inputs of the whole data set, to find partial runs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute the figures of smoothing logs, find out N and alpha, and say what is wrong: exit 1 if it is serious."""
    from unmoved.cli.audit import audit_command

    raise typer.Exit(audit_command(logs, sigma=sigma, data_size=data_size, as_json=as_json))


@app.command(cls=Command)
def doctor(
    model: ModelArg,
    weights: Weights = None,
    input_shape: Annotated[
        str | None, typer.Option(help="For a factory: shape of one batch of one input, such as 1,1,28,28.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which operators a model has, which methods apply to it, and what to change where one does not."""
    from unmoved.cli.doctor import doctor_command

    raise typer.Exit(doctor_command(model, weights, input_shape, as_json=as_json))


@app.command(cls=Command)
def train(
    model: Annotated[str, typer.Argument(metavar="FACTORY", help="package.module:factory, which returns a module.")],
    data: DataOpt,
    objective: Annotated[
        str,
        typer.Option(
            help="plain; for smoothing: noise, stability, consistency, smoothadv, macer; certified: ibp, crown-ibp, "
            "sabr, staps, mtl-ibp, cc-ibp, exp-ibp; empirical: adversarial, trades; for 1-Lipschitz nets: margin."
        ),
    ] = "ibp",
    eps: Annotated[float | None, typer.Option(help="Size of the balls to train for, in the units of x.")] = None,
    sigma: Annotated[float | None, typer.Option(help="Standard deviation of the noise to train for.")] = None,
    weight: Annotated[float | None, typer.Option(help="The objective's own trade-off. Default: its paper's.")] = None,
    clip: Clip = None,
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 30,
    batch: Annotated[int, typer.Option(help="Inputs a step.")] = 100,
    lr: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 2e-3,
    validate: Annotated[Path | None, typer.Option(help="Held-out data, an .npz file.", rich_help_panel=INPUT)] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after K epochs without a gain in certified accuracy.", metavar="K")
    ] = None,
    init: Annotated[str, typer.Option(help="Starting weights: auto | interval | default | keep (as made).")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, or bfloat16: mixed precision.")] = "float32",
    device: Device = "cpu",
    weights: Weights = None,
    x_name: XName = "x",
    y_name: YName = "y",
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for the weights, the ONNX model, the history and a checkpoint.")] = (
        Path("unmoved-model")
    ),
    as_json: Json = False,
) -> None:
    """Train a module so that it can be certified. Run it again after an interruption: it goes on where it stopped."""
    from unmoved.cli.train import TrainRequest, clip_range, train_command
    from unmoved.train import Plan
    from unmoved.train.catalogue import Wish

    wish = Wish(eps, sigma, clip_range(clip), weight)
    plan = Plan(epochs=epochs, batch=batch, lr=lr, seed=seed, precision=precision, device=device)
    request = TrainRequest(model, data, objective, wish, plan, weights, init, validate, patience, x_name, y_name, out)
    raise typer.Exit(train_command(request, as_json=as_json))


@app.command(cls=Command)
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the models, the store, the ledgers and the report.")] = Path(
        "demo-out"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Smaller: under 90 seconds.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train two small nets on real digits, certify, attack, check everything, and write the report."""
    from unmoved.cli.demo import demo_command

    raise typer.Exit(demo_command(out, quick=quick, seed=seed, as_json=as_json))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; a mistake is one clear line on stderr and exit code 2, never a traceback."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command (sys.argv, if None) and return its exit code."""
    try:
        code = app(arguments, prog_name="unmoved", standalone_mode=False)
    except typer.TyperException as error:
        # without any argument the help has just been shown, and there is nothing to add
        if error.format_message():
            console.fail(complaint(error))
        return console.MISUSE
    except IntegrityError as error:
        console.fail(f"the store is damaged or was changed ({error}): move it away and run again")
        return console.MISUSE
    except UnmovedError as error:
        console.fail(str(error))
        return console.MISUSE
    if code == console.INTERRUPTED:
        console.note("stopped; what was finished is kept, and the same command goes on from there")
    return int(code or console.OK)
