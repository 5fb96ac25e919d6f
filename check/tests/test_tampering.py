"""A good certificate is accepted in both arithmetics; every way of spoiling it is rejected, with a reason that fits."""

import copy
import json
import re
import struct
from hashlib import sha256

import numpy as np
import pytest
from check_kit import Bundle, canonical, mlp, model, random_net, tree_evidence
from onnx import helper

from unmoved_check import Accepted, Checker, Rejected

MODES = ["exact", "floating"]
RNG = np.random.default_rng(21)
LAYERS = random_net(RNG, [3, 6, 5, 4])
CENTER = np.array([[0.25, -0.5, 0.75]], dtype=np.float32)


def forward(layers, x):
    for i, (weight, bias) in enumerate(layers):
        x = weight.astype(float) @ x + bias
        x = x if i == len(layers) - 1 else np.maximum(x, 0)
    return x


LABEL = int(np.argmax(forward(LAYERS, CENTER[0].astype(float))))
MODEL = mlp(LAYERS)


def good(**parts):
    evidence = tree_evidence(
        [["leaf", 4], ["relu", "z1", 2, ["leaf", 1], ["leaf", 7]], ["input", 0, "1/4", ["leaf", 3], ["leaf", 2]]]
    )
    bundle = Bundle(
        MODEL,
        CENTER.copy(),
        threat=parts.get("threat", {"kind": "lp", "norm": "inf", "eps": "1/1000", "clip": ["-1", "1"]}),
        property={"kind": "same_class", "label": LABEL, "classes": 4},
        evidence=copy.deepcopy(evidence),
    )
    bundle.tensors["slopes/4/z0"] = np.arange(6, dtype=np.uint8)
    bundle.tensors["multipliers/7"] = np.array([0.5], dtype=np.float32)
    return bundle


def verdict(bundle, mode="floating", model_bytes=MODEL):
    return Checker(model_bytes).check(*bundle.bytes(), mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("intermediate", ["linear", "interval"])
@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_the_good_one_is_accepted(mode, intermediate, norm):
    bundle = good()
    bundle.manifest["threat"]["norm"] = norm
    bundle.manifest["evidence"]["intermediate"] = intermediate
    result = verdict(bundle, mode)
    assert isinstance(result, Accepted) and result.accepted, str(result)
    assert (result.kind, result.mode) == ("dual-tree", mode) and "5 leaves" in result.margin
    assert "accepted" in str(result)


def test_auto_is_floating():
    assert verdict(good(), "auto").mode == "floating"
    assert "mode" in verdict(good(), "approximate").reason


def edit(path, value):
    def change(bundle):
        at = bundle.manifest
        for key in path[:-1]:
            at = at[key]
        if value is KeyError:
            del at[path[-1]]
        else:
            at[path[-1]] = value

    return change


def put(name, value):
    def change(bundle):
        bundle.tensors[name] = value

    return change


def both(*changes):
    def change(bundle):
        for one in changes:
            one(bundle)

    return change


LEAF = ["leaf", 0]
SPOILED = {
    "wrong label": (edit(("property", "label"), (LABEL + 1) % 4), "not proved"),
    "label out of range": (edit(("property", "label"), 4), "not one of the classes"),
    "classes": (
        both(
            edit(("property",), {"kind": "same_class", "label": 0, "classes": 3}),
            edit(("evidence", "trees"), [LEAF, LEAF]),
        ),
        "speaks of 3 outputs",
    ),
    "larger eps": (
        both(edit(("threat", "eps"), "5"), edit(("claim", "radius"), "5"), edit(("threat", "clip"), None)),
        "not proved",
    ),
    "eps without radius": (edit(("threat", "eps"), "1/2000"), "radius"),
    "larger radius": (edit(("claim", "radius"), "1/500"), "radius"),
    "null radius": (edit(("claim", "radius"), None), "radius"),
    "negative eps": (edit(("threat", "eps"), "-1/1000"), "eps"),
    "negative eps and radius": (
        both(edit(("threat", "eps"), "-1/1000"), edit(("claim", "radius"), "-1/1000")),
        "needs eps >= 0",
    ),
    "eps as number": (edit(("threat", "eps"), 1), "rational"),
    "eps with spaces": (edit(("threat", "eps"), " 1/1000"), "rational"),
    "eps over zero": (edit(("threat", "eps"), "1/0"), "zero"),
    "eps nan": (edit(("threat", "eps"), "nan"), "rational"),
    "norm": (edit(("threat", "norm"), "3"), "norm"),
    "clip without centre": (edit(("threat", "clip"), ["0", "1"]), "clip"),
    "clip empty": (edit(("threat", "clip"), ["1", "-1"]), "clip"),
    "threat kind": (edit(("threat", "kind"), "patch"), "threat"),
    "unknown threat field": (edit(("threat", "more"), 1), "exactly"),
    "unknown field": (edit(("extra",), 1), "exactly"),
    "missing field": (edit(("input",), KeyError), "exactly"),
    "unknown claim field": (edit(("claim", "more"), 1), "exactly"),
    "schema": (edit(("schema",), "unmoved/certificate/2"), "schema"),
    "verdict": (edit(("claim", "verdict"), "FALSIFIED"), "null|can only say"),
    "verdict unknown": (edit(("claim", "verdict"), "SAFE"), "one of"),
    "function": (edit(("claim", "function"), "g"), "can only say"),
    "semantics": (edit(("claim", "semantics"), "float64"), "can only say"),
    "semantics without a profile": (edit(("claim", "semantics"), "float32-any-order"), "exactly the fields"),
    "profile without its semantics": (edit(("claim", "profile"), "float32"), "exactly the fields"),
    "guarantee": (edit(("claim", "guarantee"), {"kind": "probabilistic", "alpha": "1/1000"}), "can only say"),
    "guarantee fields": (edit(("claim", "guarantee"), {"kind": "deterministic", "alpha": "0"}), "exactly"),
    "evidence kind": (edit(("evidence", "kind"), "magic"), "unknown kind"),
    "evidence kind type": (edit(("evidence", "kind"), ["dual-tree"]), "unknown kind"),
    "intermediate": (edit(("evidence", "intermediate"), "magic"), "one of"),
    "evidence field": (edit(("evidence", "more"), 1), "exactly"),
    "missing tree": (edit(("evidence", "trees"), [["leaf", 4], ["leaf", 7]]), "expected 3 trees"),
    "extra tree": (edit(("evidence", "trees"), [["leaf", k] for k in range(4)]), "expected 3 trees"),
    "missing child": (edit(("evidence", "trees", 1), ["relu", "z1", 2, ["leaf", 1]]), "both its children"),
    "empty tree": (edit(("evidence", "trees", 1), []), "no list"),
    "null tree": (edit(("evidence", "trees", 1), None), "no list"),
    "leaf twice": (edit(("evidence", "trees", 2, 3), ["leaf", 4]), "twice"),
    "leaf negative": (edit(("evidence", "trees", 0), ["leaf", -1]), "negative"),
    "leaf boolean": (edit(("evidence", "trees", 0), ["leaf", True]), "integer"),
    "leaf with extra": (edit(("evidence", "trees", 0), ["leaf", 4, 5]), "neither"),
    "unknown split": (edit(("evidence", "trees", 0, 0), "guess"), "neither"),
    "relu index": (edit(("evidence", "trees", 1, 2), 5), "out of range"),
    "relu negative index": (edit(("evidence", "trees", 1, 2), -1), "out of range"),
    "relu name": (edit(("evidence", "trees", 1, 1), "a0"), "no ReLU"),
    "input index": (edit(("evidence", "trees", 2, 1), 3), "out of range"),
    "input negative index": (edit(("evidence", "trees", 2, 1), -1), "out of range"),
    "input point": (edit(("evidence", "trees", 2, 2), 1), "rational"),
    "negative multiplier": (put("multipliers/7", np.array([-0.5], np.float32)), "multipliers/7"),
    "multiplier nan": (put("multipliers/7", np.array([np.nan], np.float32)), "NaN"),
    "multiplier type": (put("multipliers/7", np.array([0.5])), "multipliers/7"),
    "multiplier count": (put("multipliers/7", np.array([0.5, 0.5], np.float32)), "multipliers/7"),
    "multipliers without split": (put("multipliers/4", np.array([0.5], np.float32)), "multipliers/4"),
    "multipliers of no leaf": (put("multipliers/99", np.array([0.5], np.float32)), "not used"),
    "slopes of no leaf": (put("slopes/99/z0", np.zeros(6, np.uint8)), "belongs"),
    "slopes of no relu": (put("slopes/4/a0", np.zeros(6, np.uint8)), "belongs"),
    "slopes padded number": (put("slopes/04/z0", np.zeros(6, np.uint8)), "belongs"),
    "slopes size": (put("slopes/4/z0", np.zeros(5, np.uint8)), "uint8"),
    "slopes type": (put("slopes/4/z0", np.zeros(6, np.float32)), "uint8"),
    "weights": (put("weights/0", np.array([-1.0])), "weights/0"),
    "weights zero": (put("weights/0", np.array([0.0])), "weights/0"),
    "weights of no disjunct": (put("weights/3", np.array([1.0])), "not used"),
    "stray tensor": (put("stray", np.zeros(3)), "not used"),
    "centre nan": (put("center", np.array([[np.nan, 0, 0]], np.float32)), "NaN"),
    "centre infinite": (put("center", np.array([[np.inf, 0, 0]], np.float32)), "NaN"),
    "centre shape": (put("center", np.zeros(3, np.float32)), "shape"),
    "centre type": (put("center", np.zeros((1, 3), np.float16)), "F16"),
    "centre name": (edit(("input", "tensor"), "nowhere"), "names no tensor"),
    "no centre": (edit(("input",), None), "centre"),
    "model digest": (edit(("model", "sha256"), "0" * 64), "model is not"),
    "model digest form": (edit(("model", "sha256"), "0" * 63), "sha256"),
    "model format": (edit(("model", "format"), "torch"), "one of"),
    "model input": (edit(("model", "input"), "other"), "another name"),
    "model output": (edit(("model", "output"), "a1"), "another name"),
    "input shape": (both(edit(("model", "input_shape"), [3]), put("center", CENTER[0])), "shape"),
    "provenance": (edit(("provenance",), "me"), "provenance"),
    "property kind": (edit(("property", "kind"), "robust"), "property"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SPOILED)
def test_spoiled(name, mode):
    change, reason = SPOILED[name]
    bundle = good()
    change(bundle)
    result = verdict(bundle, mode)
    assert isinstance(result, Rejected) and not result.accepted
    assert re.search(reason, result.reason), result.reason
    assert not result.reason.startswith("internal error")


def test_wrong_model_and_wrong_payload():
    manifest, payload = good().bytes()
    other = mlp(random_net(np.random.default_rng(1), [3, 6, 5, 4]))
    assert "model is not" in Checker(other).check(manifest, payload).reason
    changed = bytearray(payload)
    changed[-1] ^= 1
    assert not Checker(MODEL).check(manifest, bytes(changed)).accepted


def test_every_flipped_bit_of_the_payload_is_noticed():
    manifest, payload = good().bytes()
    checker = Checker(MODEL)
    for at in range(0, 8 * len(payload), 37):
        changed = bytearray(payload)
        changed[at // 8] ^= 1 << at % 8
        assert not checker.check(manifest, bytes(changed)).accepted


def test_flipped_bits_of_the_manifest_never_change_the_claim():
    """Only what is free (provenance), a choice (the evidence), or another truth (a wider clip) may differ."""
    manifest, payload = good().bytes()
    checker = Checker(MODEL)
    before = json.loads(manifest)
    accepted = 0
    for at in range(8 * len(manifest)):
        changed = bytearray(manifest)
        changed[at // 8] ^= 1 << at % 8
        if checker.check(bytes(changed), payload).accepted:
            accepted += 1
            after = json.loads(bytes(changed))
            after.update({key: before[key] for key in ("provenance", "evidence")})
            after["threat"]["clip"] = before["threat"]["clip"]
            assert after == before
    assert accepted > 0


def test_flipped_bits_of_the_model_never_crash():
    """With the digest put right, a broken model is read or refused, never an exception."""
    bundle = good()
    rng = np.random.default_rng(4)
    for _ in range(400):
        changed = bytearray(MODEL)
        for at in rng.integers(0, 8 * len(MODEL), size=rng.integers(1, 4)):
            changed[at // 8] ^= 1 << at % 8
        bundle.manifest["model"]["sha256"] = sha256(bytes(changed)).hexdigest()
        result = verdict(bundle, "floating", bytes(changed))
        assert result.accepted or not result.reason.startswith("internal error"), result.reason
    for cut in range(0, len(MODEL), 17):
        bundle.manifest["model"]["sha256"] = sha256(MODEL[:cut]).hexdigest()
        result = verdict(bundle, "floating", MODEL[:cut])
        assert not result.accepted and not result.reason.startswith("internal error"), result.reason


def test_manifest_must_be_canonical():
    manifest, payload = good().bytes()
    checker = Checker(MODEL)
    spaced = manifest.replace(b'":', b'": ', 1)
    twice = b'{"claim":null,' + manifest[1:]
    floating = manifest.replace(b'"label":%d' % LABEL, b'"label":%d.0' % LABEL)
    exponent = manifest.replace(b'"label":%d' % LABEL, b'"label":1e0')
    escaped = manifest.replace(b'"inf"', b'"\\u0069nf"')
    for broken, reason in (
        (spaced, "canonical"),
        (manifest + b"\n", "canonical"),
        (twice, "twice"),
        (floating, "integer"),
        (exponent, "integer"),
        (escaped, "canonical"),
        (manifest.replace(b'"inf"', b"NaN"), "integer"),
        (manifest[:-1], "JSON"),
        (b"\xff" + manifest, "UTF-8"),
        (b"[]", "object"),
        (b"[" * 100000, "internal error|JSON"),
        (b"", "JSON"),
        (manifest.replace(b'"label":%d' % LABEL, b'"label":' + b"9" * 5000), "2\\^53"),
    ):
        result = checker.check(broken, payload)
        assert not result.accepted and re.search(reason, result.reason), (broken[:80], result.reason)


def test_payload_must_be_exact_safetensors():
    bundle = good()
    manifest, payload = bundle.bytes()
    length = struct.unpack("<Q", payload[:8])[0]
    header, body = payload[8 : 8 + length], payload[8 + length :]

    def again(header_bytes, body_bytes):
        data = struct.pack("<Q", len(header_bytes)) + header_bytes + body_bytes
        bundle.manifest["payload"]["sha256"] = sha256(data).hexdigest()
        return Checker(MODEL).check(canonical(bundle.manifest), data)

    assert again(header + b"   ", body).accepted
    assert "no tensor" in again(header, body + b"\0").reason
    assert "cut off" in again(header, body[:-1]).reason
    shifted = header.replace(b"[12, 18]", b"[11, 17]")
    assert shifted != header and "overlap" in again(shifted, body).reason
    hole = header.replace(b"[12, 18]", b"[13, 19]")
    assert "holes" in again(hole, body).reason
    assert "unknown type" in again(header.replace(b'"U8"', b'"Q8"'), body).reason
    assert "header" in again(header[:-1], body).reason
    extra = header.replace(b'"dtype"', b'"more": 1, "dtype"', 1)
    assert "fields" in again(extra, body).reason
    assert "twice" in again(header.replace(b'"multipliers/7"', b'"center"'), body).reason
    assert "too short" in Checker(MODEL).check(manifest, b"abc").reason


def test_conjuncts_and_weights():
    """y is unsafe when BOTH rows hold; neither alone is impossible, a weighted sum of them is."""
    layers = [(np.eye(2), np.zeros(2)), (np.eye(2), np.zeros(2))]
    data = mlp(layers)
    threat = {"kind": "lp", "norm": "inf", "eps": "1/2", "clip": None}
    rows, bounds = [[1.0, 1.0], [-3.0, 0.0]], [1.0, -3.0]

    def result(weights, mode, bounds=bounds):
        bundle = Bundle(data, np.ones((1, 2), np.float32), threat=threat).linear(rows, bounds)
        if weights is not None:
            bundle.tensors["weights/0"] = np.array(weights)
        return Checker(data).check(*bundle.bytes(), mode=mode)

    # y in [1/2, 3/2]^2; y0 + y1 <= 1 and y0 >= 1 cannot both hold: 3 (y0 + y1 - 1) + (3 - 3 y0) = 3 y1 > 0
    for mode in MODES:
        assert result([3.0, 1.0], mode).accepted
        assert not result(None, mode).accepted
        assert not result([1.0, 0.0], mode).accepted
        assert not result([3.0, 1.0], mode, [2.0, -3.0]).accepted


@pytest.mark.parametrize("mode", MODES)
def test_box_threat(mode):
    bundle = good(threat={"kind": "box", "low": "low", "high": "high"})
    bundle.manifest["claim"]["radius"] = None
    bundle.tensors["low"] = CENTER.astype(float) - np.array([[0.001, 0.0, 0.0]])
    bundle.tensors["high"] = CENTER.astype(float) + np.array([[0.0, 0.001, 0.001]])
    assert verdict(bundle, mode).accepted
    bundle.manifest["input"] = None
    del bundle.tensors["center"]
    assert verdict(bundle, mode).accepted
    bundle.tensors["low"][0, 0] = 9
    assert "empty" in verdict(bundle, mode).reason
    bundle.tensors["low"] = np.full((1, 3), -50.0)
    bundle.tensors["high"] = np.full((1, 3), 50.0)
    assert "not proved" in verdict(bundle, mode).reason


@pytest.mark.parametrize("mode", MODES)
def test_contradicting_splits_prove_an_empty_leaf_only(mode):
    """z0 <= 0 where z0 > 0 surely: that leaf is empty; its sibling must still be proved."""
    bundle = good()
    z = LAYERS[0][0].astype(float) @ CENTER[0] + LAYERS[0][1]
    i = int(np.argmax(z))
    assert z[i] > 0.1
    bundle.manifest["evidence"]["trees"][1] = ["relu", "z0", i, ["leaf", 1], ["leaf", 7]]
    assert verdict(bundle, mode).accepted
    bundle.manifest["property"]["label"] = (LABEL + 1) % 4
    assert "not proved" in verdict(bundle, mode).reason


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("intermediate", ["linear", "interval"])
@pytest.mark.parametrize("split", [["input", 0, "0"], ["relu", "z0", 0]], ids=["input", "relu"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_both_children_of_a_split_are_asked(split, sign, intermediate, mode):
    """y = relu(x) - relu(-x) on [-1, 1]: sign * y > -1/2 holds on one side of 0 only."""
    data = mlp([(np.array([[1.0], [-1.0]]), np.zeros(2)), (np.array([[1.0, -1.0]]), np.zeros(1))])
    threat = {"kind": "lp", "norm": "inf", "eps": "1", "clip": None}

    def accepted(bound, trees):
        bundle = Bundle(data, np.zeros((1, 1), np.float32), threat=threat).linear([[sign]], [bound])
        bundle.manifest["evidence"] = tree_evidence(trees, intermediate)
        return Checker(data).check(*bundle.bytes(), mode=mode).accepted

    assert accepted(-2.125, [[*split, ["leaf", 0], ["leaf", 1]]])
    assert not accepted(-0.5, [[*split, ["leaf", 0], ["leaf", 1]]])
    deeper = [*split, ["leaf", 2], ["leaf", 3]]
    assert not accepted(-0.5, [[*split, deeper, ["leaf", 1]]])
    assert not accepted(-0.5, [[*split, ["leaf", 0], deeper]])
    if split[0] == "input":
        assert accepted(-1.125, [[*split, ["leaf", 0], ["leaf", 1]]])


def test_unknown_operator_is_said_exactly():
    data = model([helper.make_node("Floor", ["x"], ["y"])], {}, (1, 3))
    bundle = Bundle(data, CENTER, property={"kind": "same_class", "label": 0, "classes": 3})
    bundle.manifest["evidence"]["trees"] = [["leaf", 0], ["leaf", 1]]
    for mode in MODES:
        assert Checker(data).check(*bundle.bytes(), mode=mode).reason == "unchecked operator Floor"


def test_deep_trees_end_in_rejection_not_in_an_exception():
    manifest, payload = good().bytes()
    tree = b'["input",0,"0",' * 3000 + b'["leaf",7]' + b"".join(b',["leaf",%d]]' % (100 + k) for k in range(3000))
    deep = manifest.replace(b'["leaf",4]', tree)
    assert len(deep) > len(manifest) + 80000
    assert not Checker(MODEL).check(deep, payload).accepted
