"""Witnesses: exact membership, an exact forward pass, and the recorded runtime's output, all three."""

import numpy as np
import onnxruntime
import pytest
from check_kit import Bundle, mlp, model, random_net
from onnx import helper

from unmoved_check import Checker

LAYERS = [(np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2)), (np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2))]
MODEL = mlp(LAYERS)


def bundle_for(point, data=MODEL, output=None, threat=None):
    bundle = Bundle(
        data,
        np.array([[0.5, 0.25]], dtype=np.float32),
        threat=threat or {"kind": "lp", "norm": "inf", "eps": "1/4", "clip": ["0", "1"]},
        evidence={
            "kind": "witness",
            "tensor": "witness",
            "runtime": {"name": "onnxruntime", "version": onnxruntime.__version__, "output": "witness_output"},
        },
    )
    bundle.manifest["claim"].update(verdict="FALSIFIED", semantics="real+onnxruntime", radius=None)
    bundle.tensors["witness"] = np.array([point], dtype=np.float32)
    run = onnxruntime.InferenceSession(data).run(None, {"x": bundle.tensors["witness"]})[0]
    bundle.tensors["witness_output"] = run if output is None else np.array([output], dtype=np.float32)
    return bundle


def result(bundle, data=MODEL):
    return Checker(data).check(*bundle.bytes())


def test_a_tie_is_unsafe_and_within_reach():
    found = result(bundle_for([0.375, 0.375]))
    assert found.accepted and (found.kind, found.mode) == ("witness", "exact")


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ([0.5, 0.25], "exact output at the witness is safe"),
        ([0.375, np.nextafter(np.float32(0.375), np.float32(0))], "exact output at the witness is safe"),
        ([0.25, np.nextafter(np.float32(0.5), np.float32(1))], "threat's set"),
        ([0.0, 0.5], "threat's set"),
    ],
)
def test_not_a_witness(point, reason):
    assert reason in result(bundle_for(point)).reason


def test_recorded_output_must_be_unsafe_too():
    assert "real only" in result(bundle_for([0.375, 0.4], output=[0.5, 0.4])).reason
    assert "differ in size" in result(bundle_for([0.375, 0.4], output=[0.5, 0.4, 0.1])).reason


def test_membership_is_exact_for_every_norm():
    # gaps 3/32 and 4/32: norm 2 is exactly 5/32, norm 1 is 7/32
    point = [0.5 - 3 / 32, 0.25 + 4 / 32]
    point_unsafe = mlp([(np.array([[1.0, 0.0], [0.0, 4.0]]), np.zeros(2)), LAYERS[1]])
    for norm, least in (("2", "5/32"), ("1", "7/32"), ("inf", "4/32")):
        for eps, inside in ((least, True), (f"{int(least.split('/')[0]) * 10**9 - 1}/32000000000", False)):
            threat = {"kind": "lp", "norm": norm, "eps": eps, "clip": None}
            found = result(bundle_for(point, point_unsafe, threat=threat), point_unsafe)
            assert found.accepted == inside, str(found)


def test_few_elements_to_any_value_of_the_range():
    def told(point, size=1, clip=("0", "1"), **claim):
        threat = {"kind": "l0", "size": size} | ({} if clip is None else {"clip": clip and list(clip)})
        bundle = bundle_for(point, threat=threat)
        bundle.manifest["claim"].update(claim)
        return result(bundle)

    assert told([0.5, 1.0]).accepted and told([0.0, 1.0], size=2).accepted and told([0.5, 9.0], clip=None).accepted
    assert "threat's set" in told([0.0, 1.0]).reason
    assert "threat's set" in told([0.5, np.nextafter(np.float32(1), np.float32(2))]).reason
    assert "safe" in told([0.5, 0.25], size=0).reason
    assert "centre is not within" in told([0.5, 1.0], clip=("1/3", "1")).reason
    assert not told([0.5, 1.0], clip=("1", "0")).accepted and not told([0.5, 1.0], size=-1).accepted
    assert not told([0.5, 1.0], verdict="CERTIFIED", semantics="real", radius="1").accepted
    assert not told([0.5, 1.0], function="g").accepted


def test_spoiled():
    def spoiled(change):
        bundle = bundle_for([0.375, 0.375])
        change(bundle)
        return result(bundle)

    def edit(**fields):
        return lambda b: b.manifest["claim"].update(fields)

    assert "can only say" in spoiled(edit(semantics="real")).reason
    assert "radius" in spoiled(edit(radius="1/4")).reason
    assert "radius" in spoiled(edit(verdict="CERTIFIED")).reason
    assert "F64" in spoiled(lambda b: b.tensors.update(witness=b.tensors["witness"].astype(float))).reason
    assert "shape" in spoiled(lambda b: b.tensors.update(witness=b.tensors["witness"][0])).reason
    assert "not used" in spoiled(lambda b: b.tensors.update(more=np.zeros(2))).reason
    assert "one of" in spoiled(lambda b: b.manifest["evidence"]["runtime"].update(name="torch")).reason
    assert "exactly" in spoiled(lambda b: b.manifest["evidence"]["runtime"].pop("version")).reason


def test_unknown_operator():
    data = model([helper.make_node("Floor", ["x"], ["y"])], {}, (1, 2))
    assert result(bundle_for([0.375, 0.375], data), data).reason == "unchecked operator Floor"


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_onnxruntime_away_from_the_border(seed):
    rng = np.random.default_rng(seed)
    data = mlp(random_net(rng, [2, 8, 8, 2]))
    for _ in range(20):
        point = np.clip(np.array([0.5, 0.25]) + rng.uniform(-0.24, 0.24, 2), 0, 1)
        bundle = bundle_for(point, data)
        y = bundle.tensors["witness_output"][0]
        if abs(y[0] - y[1]) > 1e-4:
            assert result(bundle, data).accepted == (y[0] <= y[1])
