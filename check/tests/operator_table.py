"""One node a case: nodes, constants, the shape of x and the opset."""

import numpy as np
from onnx import helper

RNG = np.random.default_rng(7)
IMAGE = (1, 4, 6, 5)


def w(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values):
    return np.array(values, dtype=np.int64)


def one(op, constants=None, inputs=None, **attributes):
    constants = constants or {}
    return [helper.make_node(op, inputs or ["x", *constants], ["y"], **attributes)], constants


CASES = {
    "gemm": (*one("Gemm", {"W": w(7, 3), "b": w(3)}), (1, 7), 17),
    "gemm-options": (*one("Gemm", {"W": w(3, 7), "b": w(1, 3)}, alpha=0.5, beta=1.5, transB=1), (1, 7), 17),
    "gemm-transA": (*one("Gemm", {"W": w(1, 3)}, transA=1), (1, 4), 17),
    "matmul": (*one("MatMul", {"W": w(5, 3)}), (1, 2, 5), 17),
    "matmul-vector": (*one("MatMul", {"W": w(5)}), (1, 5), 17),
    "matmul-left": (*one("MatMul", {"W": w(3, 4)}, ["W", "x"]), (2, 4, 5), 17),
    "conv": (*one("Conv", {"W": w(3, 4, 3, 2), "b": w(3)}, strides=[2, 1], pads=[1, 0, 2, 1]), IMAGE, 17),
    "conv-groups": (*one("Conv", {"W": w(6, 2, 2, 2), "b": w(6)}, group=2, dilations=[2, 1]), IMAGE, 17),
    "conv-same-upper": (*one("Conv", {"W": w(2, 4, 4, 4)}, auto_pad="SAME_UPPER", strides=[2, 2]), IMAGE, 17),
    "conv-same-lower": (*one("Conv", {"W": w(2, 4, 4, 4)}, auto_pad="SAME_LOWER"), IMAGE, 17),
    "conv-valid": (*one("Conv", {"W": w(2, 4, 2, 2)}, auto_pad="VALID"), IMAGE, 17),
    "conv1d": (*one("Conv", {"W": w(3, 2, 3), "b": w(3)}, pads=[1, 1], strides=[2]), (1, 2, 7), 17),
    "conv3d": (*one("Conv", {"W": w(2, 1, 2, 2, 2)}, pads=[0, 1, 0, 1, 0, 0]), (1, 1, 3, 3, 4), 17),
    "batchnorm": (
        *one("BatchNormalization", {"s": w(4), "b": w(4), "m": w(4), "v": np.abs(w(4))}, epsilon=1e-3),
        IMAGE,
        17,
    ),
    "relu": (*one("Relu"), (1, 9), 17),
    "leaky": (*one("LeakyRelu", alpha=0.2), (1, 9), 17),
    "leaky-default": (*one("LeakyRelu"), (1, 9), 17),
    "clip": (*one("Clip", {"lo": np.float32(-0.5), "hi": np.float32(0.25)}), (1, 9), 17),
    "clip-high-only": (*one("Clip", {"hi": np.float32(0.25)}, ["x", "", "hi"]), (1, 9), 17),
    "clip-old": (*one("Clip", min=-0.5, max=0.25), (1, 9), 10),
    "maxpool": (*one("MaxPool", kernel_shape=[3, 2], strides=[1, 2], pads=[1, 0, 1, 1]), IMAGE, 17),
    "maxpool-ceil": (*one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), IMAGE, 17),
    "maxpool-ceil-pad": (
        *one("MaxPool", kernel_shape=[2, 2], strides=[3, 3], pads=[0, 0, 1, 1], ceil_mode=1),
        IMAGE,
        19,
    ),
    "maxpool-dilated": (*one("MaxPool", kernel_shape=[2, 2], dilations=[2, 3]), IMAGE, 17),
    "averagepool": (*one("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 1, 1, 0]), IMAGE, 17),
    "averagepool-padded": (
        *one("AveragePool", kernel_shape=[3, 2], pads=[1, 1, 1, 0], count_include_pad=1),
        IMAGE,
        17,
    ),
    "averagepool-ceil": (*one("AveragePool", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1), IMAGE, 17),
    "averagepool-ceil-pad": (
        *one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        (1, 1, 6, 6),
        19,
    ),
    "globalaverage": (*one("GlobalAveragePool"), IMAGE, 17),
    "add": (*one("Add", {"c": w(4, 1, 1)}), IMAGE, 17),
    "sub": (*one("Sub", {"c": w(1, 9)}), (1, 9), 17),
    "sub-from": (*one("Sub", {"c": w(9)}, ["c", "x"]), (1, 9), 17),
    "mul": (*one("Mul", {"c": w(6, 5)}), IMAGE, 17),
    "div": (*one("Div", {"c": w(4, 1, 1) + 3}), IMAGE, 17),
    "add-enlarging": (*one("Add", {"c": w(3, 1)}), (1, 4), 17),
    "add-self": (*one("Add", inputs=["x", "x"]), (1, 9), 17),
    "sub-two": (
        [*one("Neg")[0][:0], helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Sub", ["x", "r"], ["y"])],
        {},
        (1, 9),
        17,
    ),
    "add-two-broadcast": (
        [helper.make_node("GlobalAveragePool", ["x"], ["g"]), helper.make_node("Add", ["x", "g"], ["y"])],
        {},
        IMAGE,
        17,
    ),
    "neg": (*one("Neg"), (1, 9), 17),
    "flatten": (*one("Flatten", axis=2), IMAGE, 17),
    "reshape": (*one("Reshape", {"s": ints(0, -1, 6)}), IMAGE, 17),
    "squeeze": (*one("Squeeze", {"a": ints(0)}), IMAGE, 17),
    "squeeze-old": (*one("Squeeze", axes=[0]), IMAGE, 11),
    "unsqueeze": (*one("Unsqueeze", {"a": ints(1, -1)}), (1, 9), 17),
    "transpose": (*one("Transpose", perm=[0, 3, 1, 2]), IMAGE, 17),
    "concat": (
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Concat", ["r", "c", "x"], ["y"], axis=1)],
        {"c": w(1, 2, 6, 5)},
        IMAGE,
        17,
    ),
    "slice": (*one("Slice", {"s": ints(5, 0), "e": ints(-100, 4), "a": ints(2, 3), "t": ints(-2, 3)}), IMAGE, 17),
    "slice-old": (*one("Slice", starts=[1], ends=[-1], axes=[2]), IMAGE, 9),
    "pad": (*one("Pad", {"p": ints(0, 0, 1, 0, 0, 0, 2, -1), "v": np.float32(0.3)}), IMAGE, 17),
    "pad-axes": (*one("Pad", {"p": ints(1, 2), "a": ints(3)}, ["x", "p", "", "a"]), IMAGE, 18),
    "gather": (*one("Gather", {"i": ints(2, 0, 2)}, axis=1), IMAGE, 17),
    "expand": (*one("Expand", {"s": ints(3, 4)}), (1, 4), 17),
    "identity": (*one("Identity"), (1, 9), 17),
    "dropout": (*one("Dropout", {"r": np.float32(0.5)}), (1, 9), 17),
    "reducemean": (*one("ReduceMean", axes=[1, 3], keepdims=0), IMAGE, 17),
    "reducesum": (*one("ReduceSum", {"a": ints(-1)}), IMAGE, 17),
    "gemm-left": (*one("Gemm", {"W": w(3, 4), "b": w(2)}, ["W", "x", "b"], transB=1, alpha=0.5, beta=2.0), (2, 4), 17),
    "gemm-left-transA": (*one("Gemm", {"W": w(4, 3)}, ["W", "x"], transA=1), (4, 2), 17),
    "matmul-batched": (*one("MatMul", {"W": w(3, 1, 4, 2)}), (2, 3, 4), 17),
    "matmul-batched-left": (*one("MatMul", {"W": w(2, 3, 4)}, ["W", "x"]), (4, 2), 17),
    "matmul-batched-vector": (*one("MatMul", {"W": w(2, 4, 3)}), (4,), 17),
    "conv-batch": (*one("Conv", {"W": w(4, 1, 2, 2), "b": w(4)}, group=2, pads=[1, 0, 0, 0]), (2, 2, 3, 4), 17),
    "maxpool-batch": (*one("MaxPool", kernel_shape=[2, 2], pads=[0, 1, 0, 0]), (2, 2, 3, 4), 17),
    "averagepool-batch": (*one("AveragePool", kernel_shape=[2, 2]), (2, 2, 3, 4), 17),
    "deconv": (*one("ConvTranspose", {"W": w(4, 3, 3, 2), "b": w(3)}, strides=[2, 1], pads=[1, 0, 2, 1]), IMAGE, 17),
    "deconv-groups": (
        *one("ConvTranspose", {"W": w(4, 3, 2, 2), "b": w(6)}, group=2, dilations=[2, 1], strides=[3, 2]),
        IMAGE,
        17,
    ),
    "deconv-cut": (
        # more is cut off in front than the kernel reaches; output_padding brings computed places back
        *one("ConvTranspose", {"W": w(1, 2, 2, 2)}, strides=[3, 2], pads=[4, 2, 1, 1], output_padding=[2, 1]),
        (1, 1, 4, 5),
        17,
    ),
    "deconv-same": (
        *one("ConvTranspose", {"W": w(2, 2, 4, 3)}, auto_pad="SAME_UPPER", strides=[3, 2]),
        (1, 2, 3, 3),
        17,
    ),
    "deconv-same-lower": (
        *one("ConvTranspose", {"W": w(2, 2, 4, 4)}, auto_pad="SAME_LOWER", strides=[1, 3]),
        (1, 2, 3, 3),
        17,
    ),
    "deconv-shape": (*one("ConvTranspose", {"W": w(2, 1, 3)}, output_shape=[10], strides=[3]), (1, 2, 4), 17),
    "deconv-old": (*one("ConvTranspose", {"W": w(2, 1, 4)}, output_shape=[11], strides=[3]), (1, 2, 4), 10),
    "deconv3d": (
        *one("ConvTranspose", {"W": w(1, 2, 2, 1, 2)}, strides=[2, 1, 1], pads=[0, 0, 1, 1, 0, 0]),
        (1, 1, 2, 2, 3),
        17,
    ),
    "resize": (
        *one("Resize", {"s": np.array([1, 1, 2, 3], np.float32)}, ["x", "", "s"], mode="nearest"),
        (1, 2, 3, 2),
        17,
    ),
    "resize-sizes": (
        *one("Resize", {"z": ints(1, 2, 7, 2)}, ["x", "", "", "z"], nearest_mode="floor"),
        (1, 2, 4, 3),
        17,
    ),
    "resize-axes": (
        *one("Resize", {"z": ints(3, 8)}, ["x", "", "", "z"], axes=[-1, 2], nearest_mode="ceil"),
        (1, 1, 5, 4),
        18,
    ),
    "resize-asymmetric": (
        *one(
            "Resize",
            {"s": np.array([1, 1, 1.5, 0.75], np.float32)},
            ["x", "", "s"],
            coordinate_transformation_mode="asymmetric",
            nearest_mode="round_prefer_ceil",
        ),
        (1, 1, 4, 5),
        13,
    ),
    "resize-aligned": (
        *one("Resize", {"z": ints(1, 1, 6, 3)}, ["x", "", "", "z"], coordinate_transformation_mode="align_corners"),
        (1, 1, 4, 5),
        13,
    ),
    "resize-torch": (
        *one(
            "Resize", {"z": ints(1, 1, 1, 8)}, ["x", "", "", "z"], coordinate_transformation_mode="pytorch_half_pixel"
        ),
        (1, 1, 4, 5),
        13,
    ),
    "resize-old": (*one("Resize", {"s": np.array([1, 1, 2.5, 1], np.float32)}), (1, 1, 4, 3), 10),
    "upsample": (*one("Upsample", {"s": np.array([1, 1, 1.5, 2], np.float32)}), (1, 1, 4, 3), 9),
    "upsample-old": (*one("Upsample", scales=[1.0, 1.0, 3.0, 1.0], mode="nearest"), (1, 1, 2, 3), 8),
    "split-equal": (
        [helper.make_node("Split", ["x"], ["a", "b"], axis=-1), helper.make_node("Sub", ["b", "a"], ["y"])],
        {},
        (2, 6),
        17,
    ),
    "split-sizes": (
        [helper.make_node("Split", ["x", "n"], ["a", "b", "c"], axis=1), helper.make_node("Mul", ["b", "c"], ["y"])],
        {"n": ints(3, 2, 2)},
        (1, 7),
        17,
    ),
    "split-old": ([helper.make_node("Split", ["x"], ["a", "y"], axis=1, split=[1, 3])], {}, (2, 4), 11),
    "split-count": ([helper.make_node("Split", ["x"], ["a", "b", "y"], axis=0, num_outputs=3)], {}, (8, 2), 18),
    "tile": (*one("Tile", {"n": ints(1, 2, 3)}), (1, 2, 2), 17),
    "sum": (
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Sum", ["c", "x", "r", "d", "x"], ["y"])],
        {"c": w(3, 1), "d": w(1)},
        (1, 4),
        17,
    ),
    "sum-one": (*one("Sum"), (1, 4), 17),
    "reducemax": (*one("ReduceMax", axes=[1, -1], keepdims=0), (2, 3, 2, 2), 17),
    "reducemax-all": (*one("ReduceMax"), (2, 3), 17),
    "reducemax-input": (*one("ReduceMax", {"a": ints(-2)}), (2, 3, 2), 18),
    "reducemax-noop": (*one("ReduceMax", noop_with_empty_axes=1), (2, 3), 18),
    "reducemin": (*one("ReduceMin", {"a": ints(1, 0)}, keepdims=0), (2, 3, 2), 20),
    "globalmax": (*one("GlobalMaxPool"), (2, 2, 3, 2), 17),
    "max-tensors": (
        [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Max", ["c", "x", "n", "x"], ["y"])],
        {"c": w(2, 1, 1)},
        (1, 3),
        17,
    ),
    "min-tensors": (
        [helper.make_node("ReduceMean", ["x"], ["m"], axes=[1]), helper.make_node("Min", ["m", "x"], ["y"])],
        {},
        (2, 3),
        17,
    ),
    "max-constants": (*one("Max", {"c": w(3)}), (2, 3), 17),
    "max-number": (*one("Max", {"c": np.array([0.25], np.float32)}, ["c", "x"]), (2, 3), 17),
    "min-number": (*one("Min", {"c": np.array([[0.25]], np.float32)}), (3,), 17),
    "max-alone": (*one("Max"), (2, 3), 17),
    "prelu": (*one("PRelu", {"s": np.array([0.25], np.float32)}), (2, 3), 17),
    "prelu-channels": (*one("PRelu", {"s": np.array([[0.0], [0.5], [1.0]], np.float32)}), (1, 3, 4), 17),
    "prelu-any": (*one("PRelu", {"s": np.array([-1.5, 2.0, 0.5, -1.5], np.float32)}), (2, 4), 17),
    "leaky-steep": (*one("LeakyRelu", alpha=1.5), (1, 9), 17),
    "leaky-back": (*one("LeakyRelu", alpha=-0.3), (1, 9), 17),
    "abs": (*one("Abs"), (1, 9), 17),
    "where": (*one("Where", {"c": RNG.random((2, 3)) > 0.5, "k": w(2, 1)}, ["c", "k", "x"]), (3,), 17),
    "where-two": (
        [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Where", ["c", "x", "n"], ["y"])],
        {"c": RNG.random((2, 1, 3)) > 0.5},
        (2, 3),
        17,
    ),
    "where-compared": (
        [
            helper.make_node("GreaterOrEqual", ["r", "t"], ["g"]),
            helper.make_node("Not", ["g"], ["l"]),
            helper.make_node("Less", ["r", "u"], ["s"]),
            helper.make_node("Or", ["l", "s"], ["c"]),
            helper.make_node("Where", ["c", "x", "k"], ["y"]),
        ],
        {"r": ints(0, 1, 2, 3), "t": ints(2), "u": ints(1), "k": w(1)},
        (2, 4),
        17,
    ),
    "pad-reflect": (*one("Pad", {"p": ints(1, 2, 0, 3)}, mode="reflect"), (2, 5), 17),
    "pad-edge": (*one("Pad", {"p": ints(1, 4, 0, 3)}, mode="edge"), (2, 2), 17),
    "pad-wrap": (*one("Pad", {"p": ints(1, 2, 0, 3)}, mode="wrap"), (2, 4), 19),
    "cast": (*one("Cast", to=1), (1, 4), 17),
}
