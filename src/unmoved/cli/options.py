"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

INPUT, SMOOTHING, KEPT = "Model and data", "Smoothing", "Results"
"""Panels of --help."""

ModelArg = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="An .onnx file, or package.module:factory (a function that returns a torch module)."
    ),
]
DataOpt = Annotated[
    Path, typer.Option(help="An .npz file with inputs x (n, ...) and integer labels y (n).", rich_help_panel=INPUT)
]
XName = Annotated[str, typer.Option(help="Name of the inputs in the npz file.", rich_help_panel=INPUT)]
YName = Annotated[str, typer.Option(help="Name of the labels in the npz file.", rich_help_panel=INPUT)]
Weights = Annotated[
    Path | None, typer.Option(help="A .safetensors file for the factory's module.", rich_help_panel=INPUT)
]
Limit = Annotated[int | None, typer.Option(help="Only the first K inputs.", metavar="K", rich_help_panel=INPUT)]
ThreatOpt = Annotated[
    str,
    typer.Option(
        help="What the adversary may do: linf:8/255, l2:0.5 or l1:2, in the units of x; l0:3 elements; "
        "patch:5 a side. l2:0: any radius."
    ),
]
Clip = Annotated[
    str | None, typer.Option(help="Range that every input element keeps, such as 0,1 for images. Default: no range.")
]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]
Seconds = Annotated[
    float | None,
    typer.Option(help="Wall time for each batch of inputs; then UNKNOWN(timeout), and a tenth more for smaller sizes."),
]
Sigma = Annotated[
    str | None,
    typer.Option(
        help="Size of the noise (Gaussian: its standard deviation), in the units of x.", rich_help_panel=SMOOTHING
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(help="Noisy copies of each input, at most. Default: 10000 (attack: 1000).", rich_help_panel=SMOOTHING),
]
Alpha = Annotated[
    str, typer.Option(help="Probability that a certificate is wrong, for each input.", rich_help_panel=SMOOTHING)
]
Mode = Annotated[
    str | None,
    typer.Option(
        help="radius: the largest that --samples prove (default). grid: stop when the next multiple of 0.25 is out of "
        "reach. target: stop when the threat's size is proved or out of reach. fixed: one look, no stopping.",
        rich_help_panel=SMOOTHING,
    ),
]
SemanticsOpt = Annotated[
    str | None,
    typer.Option(
        help="What a proof is about: real (exact real arithmetic on the stored weights), float32-any-order (every "
        "float32 execution, whatever the order of its sums) or float32-any-order:tf32 (tensor cores).",
    ),
]
Cohen = Annotated[
    bool,
    typer.Option(
        "--cohen",
        help="As in the literature: fixed, 100 + 100000 samples, one-class bound.",
        rich_help_panel=SMOOTHING,
    ),
]
LabelKnown = Annotated[
    bool,
    typer.Option("--label-known", help="Skip inputs whose first guess is not the label.", rich_help_panel=SMOOTHING),
]
FamilyOpt = Annotated[
    str | None,
    typer.Option(
        "--family",
        help="bonferroni or holm: --alpha is then for all certificates of the run together.",
        rich_help_panel=SMOOTHING,
    ),
]
NoiseOpt = Annotated[
    str | None,
    typer.Option(
        "--noise",
        help="gaussian (L2, by norm inequality L1 and L_inf; the default with --sigma), laplace, uniform, splitting, "
        "splitting-all (L1), discrete, ablation, flips (L0), columns, blocks (patches).",
        rich_help_panel=SMOOTHING,
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        help="discrete: probability that an element stays. ablation: pixels seen at a time.", rich_help_panel=SMOOTHING
    ),
]
Band = Annotated[
    str | None, typer.Option(help="columns, blocks: how wide a part is seen at a time.", rich_help_panel=SMOOTHING)
]
Flip = Annotated[
    str | None,
    typer.Option(help="flips: probabilities that a 0 and that a 1 flips: 0.01,0.6.", rich_help_panel=SMOOTHING),
]
Grid = Annotated[
    int,
    typer.Option(help="x lies on multiples of 1/grid (255: 8-bit images in [0, 1]).", rich_help_panel=SMOOTHING),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="float32 (default), or bfloat16 where the processor has it: about twice as fast; what is certified and "
        "attacked is then the model in bfloat16.",
        rich_help_panel=SMOOTHING,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(help="Worker processes of one thread each. Counts do not depend on it.", rich_help_panel=SMOOTHING),
]
Device = Annotated[str, typer.Option(help="Where the network runs: cpu, cuda or cuda:K.")]
StoreOpt = Annotated[
    str | None,
    typer.Option(help="A path or sqlite:///PATH. Default: store.sqlite in --out.", rich_help_panel=KEPT),
]
Out = Annotated[
    Path,
    typer.Option(help="Folder for the ledger, the certificates, the model and the store.", rich_help_panel=KEPT),
]
Json = Annotated[
    bool, typer.Option("--json", help="Write the result as JSON to stdout, for machines.", rich_help_panel=KEPT)
]
