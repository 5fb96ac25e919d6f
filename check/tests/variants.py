"""Random nodes with odd attributes: (nodes, constants, shape of x, opset). Some are no valid ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

Made = tuple[list[Any], dict[str, np.ndarray], tuple[int, ...], int]
R = np.random.Generator


def node(op: str, inputs: list[str], outputs: str | list[str] = "y", **attributes: Any) -> Any:
    return helper.make_node(op, inputs, [outputs] if isinstance(outputs, str) else outputs, **attributes)


def some(r: R, low: int, high: int, count: int) -> list[int]:
    return [int(v) for v in r.integers(low, high, count)]


def floats(r: R, *shape: int) -> np.ndarray:
    return np.asarray(r.normal(size=shape), np.float32)


def pick(r: R, *values: Any) -> Any:
    return values[int(r.integers(len(values)))]


def shape(r: R, least: int = 1, most: int = 4) -> tuple[int, ...]:
    return tuple(some(r, 1, 4, int(r.integers(least, most))))


def narrower(r: R, wide: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts with `wide`, now and then to something larger."""
    found = [d if r.random() < 0.6 else 1 for d in wide][int(r.integers(0, len(wide) + 1)) :]
    return (int(r.integers(1, 3)), *found) if len(found) == len(wide) and r.random() < 0.3 else tuple(found)


def deconvolution(r: R) -> Made:
    axes, groups = int(r.integers(1, 4)), pick(r, 1, 1, 2)
    channels, more, how = groups * int(r.integers(1, 3)), {}, r.random()
    if r.random() < 0.7:
        more["strides"] = some(r, 1, 4, axes)
    if r.random() < 0.4:
        more["dilations"] = some(r, 1, 3, axes)
    if r.random() < 0.4:
        more["output_padding"] = some(r, 0, 3, axes)
    if how < 0.4:
        more["pads"] = some(r, 0, 3, 2 * axes)
    elif how < 0.6:
        more["output_shape"] = some(r, 1, 10, axes)
    if how > 0.5:
        more["auto_pad"] = pick(r, "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    constants = {"W": floats(r, channels, int(r.integers(1, 3)), *some(r, 1, 4, axes))}
    if r.random() < 0.5:
        constants["b"] = floats(r, constants["W"].shape[1] * groups)
    made = node("ConvTranspose", ["x", *constants], group=groups, **more)
    return [made], constants, (1, channels, *some(r, 1, 5, axes)), pick(r, 8, 10, 11, 13, 22)


def resize(r: R) -> Made:
    axes, opset = int(r.integers(1, 3)), pick(r, 9, 10, 11, 13, 18, 19)
    at = (1, 1, *some(r, 1, 8, axes))
    scales = [pick(r, 1, 2, 3, 4, 0.5, 0.25, 1.5, 1.3, 2.7, 0.6, 0.7, 0.9, 1 / 3, 0.1) for _ in range(axes)]
    given = {"s": np.array([1, 1, *scales], np.float32)}
    if opset < 11:
        return [node("Upsample" if opset == 9 else "Resize", ["x", "s"])], given, at, opset
    more = {
        "coordinate_transformation_mode": pick(r, "asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"),
        "nearest_mode": pick(r, "floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    }
    more = more if r.random() < 0.8 else {}
    first = [1, 1]
    if opset >= 18 and r.random() < 0.4:
        first, more["axes"] = [], [2 + i if r.random() < 0.5 else i - axes for i in range(axes)]
    empty = {"roi": np.zeros(0, np.float32), "s": np.zeros(0, np.float32)}
    names = ["x", "roi", "s"]
    if r.random() < 0.5:
        empty["s"] = np.array([*first, *scales], np.float32)
    else:
        names, empty["z"] = [*names, "z"], np.array([*first, *some(r, 1, 12, axes)], np.int64)
    return [node("Resize", names, **more)], empty, at, opset


def split(r: R) -> Made:
    at, opset, count = list(shape(r)), pick(r, 8, 11, 13, 17, 18, 20), int(r.integers(1, 4))
    axis = int(r.integers(-len(at), len(at)))
    at[axis] = int(r.integers(count, 8))
    more, constants, names = {"axis": axis}, {}, ["x"]
    outputs = [f"part{k}" for k in range(count)]
    outputs[int(r.integers(count))] = "y"
    if r.random() < 0.5:
        sizes = np.diff([0, *sorted(some(r, 0, at[axis] + 1, count - 1)), at[axis]])
        if opset < 13:
            more["split"] = sizes.tolist()
        else:
            constants["n"], names = sizes.astype(np.int64), ["x", "n"]
    elif opset >= 18 or r.random() < 0.1:
        more["num_outputs"] = count
    return [node("Split", names, outputs, **more)], constants, tuple(at), opset


def tile(r: R) -> Made:
    at = shape(r)
    return [node("Tile", ["x", "n"])], {"n": r.integers(r.random() > 0.1, 4, len(at))}, at, pick(r, 8, 13)


def several(r: R) -> Made:
    at, constants, names, nodes = shape(r), {}, ["x"], []
    for k in range(int(r.integers(0, 4))):
        names.append(pick(r, f"c{k}", f"n{k}", "x"))
        if names[-1] == f"c{k}":
            constants[f"c{k}"] = floats(r, *narrower(r, at))
        elif names[-1] == f"n{k}":
            nodes.append(node("Neg", ["x"], f"n{k}"))
    r.shuffle(names)
    return [*nodes, node(pick(r, "Max", "Min", "Sum"), names)], constants, at, pick(r, 8, 12, 13)


def reduction(r: R) -> Made:
    at, opset, constants = shape(r), pick(r, 8, 11, 13, 17, 18, 20), {}
    op, more = pick(r, "ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum"), {"keepdims": int(r.integers(2))}
    modern = opset >= (13 if op == "ReduceSum" else 18)
    axes = [int(a) for a in r.permutation(np.arange(-len(at), len(at)))[: int(r.integers(0, len(at) + 1))]]
    if modern and r.random() < 0.7:
        constants["a"] = np.array(axes, np.int64)
    elif axes and not modern:
        more["axes"] = axes
    if modern and r.random() < 0.4:
        more["noop_with_empty_axes"] = int(r.integers(2))
    return [node(op, ["x", *constants], **more)], constants, at, opset


def slopes(r: R) -> Made:
    at = shape(r, 1, 5)
    given = floats(r, *narrower(r, at))
    return [node("PRelu", ["x", "s"])], {"s": np.abs(given) % 1 if r.random() < 0.4 else given}, at, pick(r, 8, 9, 16)


def where(r: R) -> Made:
    at = shape(r)
    names, constants = (
        ["x", pick(r, "k", "n")],
        {"c": r.random(narrower(r, at)) > 0.5, "k": floats(r, *narrower(r, at))},
    )
    r.shuffle(names)
    return [node("Neg", ["x"], "n"), node("Where", ["c", *names])], constants, at, pick(r, 9, 16)


def pad(r: R) -> Made:
    at, mode = shape(r), pick(r, "reflect", "edge", "wrap", "constant")
    amounts = r.integers(-1, 3, 2 * len(at))
    amounts = amounts if r.random() < 0.4 else np.abs(amounts)
    return [node("Pad", ["x", "p"], mode=mode)], {"p": amounts}, at, pick(r, 11, 13, 18, 19, 21)


def normalisation(r: R) -> Made:
    op = pick(r, "LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization")
    more = {"epsilon": pick(r, 1e-5, 1e-2, 0.5)}
    if op[0] in "LR":
        at = shape(r)
        more["axis"] = int(r.integers(-len(at), len(at)))
        inner = at[more["axis"] % len(at) :]
        constants = {"g": floats(r, *inner[r.random() < 0.1 :])}
        if op[0] == "L" and r.random() < 0.6:
            constants["b"] = floats(r, *inner)
        return [node(op, ["x", *constants], **more)], constants, at, 17 if op[0] == "L" else 23
    channels, opset = pick(r, 1, 2, 4, 6), pick(r, 8, 17, 22)
    at, count = (int(r.integers(1, 3)), channels, *shape(r, 1, 3)), channels
    if op[0] == "G":
        opset, more["num_groups"] = pick(r, 18, 21), pick(r, 1, 2, 3, channels)
        count = channels if opset == 21 else more["num_groups"]
    constants = {"g": floats(r, count), "b": floats(r, count)}
    return [node(op, ["x", *constants], **more)], constants, at, opset


def gemm(r: R) -> Made:
    m, k, n = some(r, 1, 4, 3)
    turned, left = some(r, 0, 2, 2), r.random() < 0.5
    sides = [(k, m) if turned[0] else (m, k), (n, k) if turned[1] else (k, n)]
    constants = {"w": floats(r, *sides[not left]), "b": floats(r, *pick(r, (m, n), (n,), (1, n), (m, 1), (1,)))}
    more = {"transA": turned[0], "transB": turned[1], "alpha": float(r.normal()), "beta": float(r.normal())}
    return [node("Gemm", ["w", "x", "b"] if left else ["x", "w", "b"], **more)], constants, sides[left], 13


def matmul(r: R) -> Made:
    batch, (m, k, n) = shape(r, 0, 3), some(r, 1, 4, 3)
    sides = [pick(r, (*narrower(r, batch), m, k), (k,)), pick(r, (*narrower(r, batch), k, n), (k, n), (k,))]
    left = r.random() < 0.5
    return [node("MatMul", ["w", "x"] if left else ["x", "w"])], {"w": floats(r, *sides[not left])}, sides[left], 13


def einsum(r: R) -> Made:
    equation = pick(
        r, "ij,jk->ik", "bij,bjk->ikb", "bhid,bhjd->bhij", "ij,kj->ki", "bi,bj->bij", "ab,ab->a", "abc,cd->dab",
        "ab,ba->a", "ij,k->kij", "i,i->", "ij,jk", "ii,ij->j", "ij,kl->ik",
    )  # fmt: skip
    sizes = {c: int(r.integers(1, 4)) for c in "abcdhijkl"}
    left, right = (tuple(sizes[c] for c in side) for side in equation.split("->")[0].split(","))
    how = r.random()
    if how < 0.3:
        return [node("Einsum", ["w", "x"], equation=equation)], {"w": floats(r, *left)}, right, 13
    if how < 0.6:
        return [node("Einsum", ["x", "w"], equation=equation)], {"w": floats(r, *right)}, left, 13
    count = {"n": np.array(right, np.int64), "f": np.array([-1]), "z": np.zeros(int(np.prod(right)), np.int64)}
    nodes = [node("Reshape", ["x", "f"], "flat"), node("Gather", ["flat", "z"], "g"), node("Reshape", ["g", "n"], "w")]
    count["z"] = r.integers(0, int(np.prod(left)), int(np.prod(right)))
    return [*nodes, node("Einsum", ["x", "w"], equation=equation)], count, left, 13


def images(r: R) -> Made:
    op, axes, groups = pick(r, "Conv", "MaxPool", "AveragePool", "GlobalMaxPool"), int(r.integers(1, 3)), pick(r, 1, 2)
    channels, kernel, more, constants = groups * int(r.integers(1, 3)), some(r, 1, 4, axes), {}, {}
    if op != "GlobalMaxPool":
        more = {"pads": some(r, 0, 2, 2 * axes), "strides": some(r, 1, 3, axes)}
        if op == "Conv":
            constants["W"], more["group"] = (
                floats(r, groups * int(r.integers(1, 3)), channels // groups, *kernel),
                groups,
            )
        else:
            more |= {"kernel_shape": kernel, "ceil_mode": int(r.integers(2))}
        more |= {"dilations": some(r, 1, 3, axes)} if op != "AveragePool" else {"count_include_pad": int(r.integers(2))}
    at = (int(r.integers(1, 3)), channels, *some(r, 3, 6, axes))
    return [node(op, ["x", *constants], **more)], constants, at, pick(r, 11, 17, 19, 22)


VARIANTS = (
    deconvolution,
    einsum,
    gemm,
    images,
    matmul,
    normalisation,
    pad,
    reduction,
    resize,
    several,
    slopes,
    split,
    tile,
    where,
)
