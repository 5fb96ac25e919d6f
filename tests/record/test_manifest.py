"""Manifests and bundles: canonical, deterministic, bound to every field, read by the independent checker."""

import hashlib
import json
import zipfile
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmoved.core import (
    Counts,
    Disjunct,
    DualTree,
    Finding,
    Guarantee,
    LinearProperty,
    Problem,
    SameClass,
    UsageError,
    Verdict,
    Witness,
)
from unmoved.record import canonical, digest, encode, write_bundle
from unmoved.testing import Perceptron
from unmoved.threats import L1, L2, Box, Linf
from unmoved_check import bundle, claim
from unmoved_check import canonical as theirs

NET = Perceptron(((np.array([[1, -1], [-1, 1], [0, -4]], np.float32), np.zeros(3, np.float32)),))
X = np.array([[0.75, 0.25]], np.float32)
TREE = DualTree("linear", (("leaf", 0), ("leaf", 1)), {"slopes/0/z": np.array([255, 0], np.uint8)})
PROOF = Finding(Verdict.CERTIFIED, "linear", evidence=TREE, radius=Fraction(1, 10))
VOTES = Counts(
    *(Fraction(1, 2), 255, False, "two-class", 100, 10, (97, 2, 1), 0, Fraction(1, 1000), "ab" * 32),
    sampler="philox4x32-10/grid/1",
)
SMOOTHED = Finding(
    Verdict.CERTIFIED, "smoothing", evidence=VOTES, guarantee=Guarantee("g", VOTES.alpha), radius=Fraction(3, 7)
)
BROKEN = Finding(Verdict.FALSIFIED, "pgd", evidence=Witness(X, "1.20", np.zeros((1, 3), np.float32)))
LINEAR = LinearProperty((Disjunct(np.eye(3)[:2], np.zeros(2)), Disjunct(np.eye(3)[2:], np.ones(1))))
TOOL = {"tool": "unmoved", "version": "1"}


def problem(threat="linf", prop=None, x=X):
    threats = {
        "linf": Linf("1/10", ("0", "1")),
        "l2": L2("2/7"),
        "l1": L1("0.5", ("-1/3", 1)),
        "box": Box(np.zeros((1, 2)), np.ones((1, 2))),
    }
    return Problem(NET.network, x, threats.get(threat, threat), prop or SameClass(0))


class TestCanonical:
    def test_keys_sorted_without_white_space(self):
        value = {"b": [1, True, None, "é\n\u2028\x1f"], "a": {"z": -0, "aa": {}}, "B": []}
        text = '{"B":[],"a":{"aa":{},"z":0},"b":[1,true,null,"é\\n\u2028\\u001f"]}'
        assert canonical(value) == text.encode()

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
            lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(st.characters(codec="ascii")), v, max_size=3),
        )
    )
    def test_reads_back_in_the_other_implementation(self, value):
        assert theirs.parse(canonical(value)) == value

    @pytest.mark.parametrize("value", [1.0, float("nan"), [1, 0.5], {"a": {"b": (1.5,)}}, np.float64(1)])
    def test_refuses_floats(self, value):
        with pytest.raises(TypeError):
            canonical(value)

    def test_digest(self):
        assert digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


class TestEncode:
    def test_is_the_page(self):
        """Field by field as docs/certificate-format.md has it."""
        manifest, payload = encode(problem(), PROOF, TOOL)
        assert json.loads(manifest) == {
            "schema": "unmoved/certificate/1",
            "model": {
                "format": "onnx",
                "sha256": hashlib.sha256(NET.network.source).hexdigest(),
                "input": "x",
                "output": "z0",
                "input_shape": [1, 2],
            },
            "payload": {"sha256": hashlib.sha256(payload).hexdigest()},
            "input": {"tensor": "center"},
            "threat": {"kind": "lp", "norm": "inf", "eps": "1/10", "clip": ["0", "1"]},
            "property": {"kind": "same_class", "label": 0, "classes": 3},
            "claim": {
                "verdict": "CERTIFIED",
                "function": "f",
                "semantics": "real",
                "guarantee": {"kind": "deterministic"},
                "radius": "1/10",
            },
            "evidence": {"kind": "dual-tree", "intermediate": "linear", "trees": [["leaf", 0], ["leaf", 1]]},
            "provenance": TOOL,
        }

    @pytest.mark.parametrize("threat", ["linf", "l2", "l1", "box"])
    @pytest.mark.parametrize("prop", [SameClass(2), LINEAR])
    @pytest.mark.parametrize("finding", [PROOF, SMOOTHED, BROKEN], ids=lambda f: f.method)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_reads_in_the_checker(self, threat, prop, finding, dtype):
        """Whatever is written has the form that the other implementation reads, and means the same there."""
        asked = problem(threat, prop, X.astype(dtype))
        radius = None if threat == "box" or finding is BROKEN else max(asked.threat.size, finding.radius)
        if finding is PROOF and radius is not None:
            radius = asked.threat.size
        finding = replace(finding, radius=radius)
        read = bundle.parse(*encode(asked, finding, TOOL))
        meant = claim.parse_claim(read.manifest, read.tensors)
        assert meant.verdict == finding.verdict and meant.function == finding.guarantee.of
        assert meant.model.sha256 == NET.network.digest and tuple(meant.model.input_shape) == (1, 2)
        if threat == "box":
            assert tuple(map(tuple, meant.region.box)) == ((0.0, 0.0), (1.0, 1.0))
        else:
            assert (meant.region.ball.norm, meant.region.ball.eps) == (asked.threat.norm, asked.threat.eps)
            assert tuple(meant.region.ball.center) == (0.75, 0.25)
            assert meant.region.clip == asked.threat.clip

    def test_same_bytes_each_time(self):
        for finding in (PROOF, SMOOTHED, BROKEN):
            assert encode(problem(), finding, TOOL) == encode(problem(), finding, dict(reversed(TOOL.items())))
        backwards = replace(TREE, choices={"weights/1": np.ones(1), "weights/0": np.ones(1)})
        forwards = replace(TREE, choices={"weights/0": np.ones(1), "weights/1": np.ones(1)})
        assert encode(problem(), replace(PROOF, evidence=backwards), TOOL) == encode(
            problem(), replace(PROOF, evidence=forwards), TOOL
        )

    def test_arrays_are_written_as_they_read(self):
        """Views and other memory orders are the same tensors."""
        wide = np.asfortranarray(np.tile(X, (1, 3)))[:, ::3]
        twisted = problem(x=np.array([[0.75, 9, 0.75]], np.float32)[:, ::2])
        straight = problem(x=np.array([[0.75, 0.75]], np.float32))
        assert wide.shape == X.shape
        assert encode(twisted, PROOF, TOOL) == encode(straight, PROOF, TOOL)

    @pytest.mark.parametrize(
        "other",
        [
            (problem(x=X + np.float32(2**-24)), PROOF, TOOL),
            (problem(x=X.astype(np.float64)), PROOF, TOOL),
            (problem(Linf("0.1")), PROOF, TOOL),
            (problem(Linf("0.1", (0, 2))), PROOF, TOOL),
            (problem(Linf("0.11", (0, 1))), PROOF, TOOL),
            (problem(L2("0.1", (0, 1))), PROOF, TOOL),
            (problem(prop=SameClass(1)), PROOF, TOOL),
            (problem(prop=LINEAR), PROOF, TOOL),
            (problem(), replace(PROOF, radius=Fraction(1, 11)), TOOL),
            (problem(), replace(PROOF, verdict=Verdict.FALSIFIED), TOOL),
            (problem(), replace(PROOF, guarantee=Guarantee("g")), TOOL),
            (problem(), replace(PROOF, guarantee=Guarantee("f", Fraction(1, 2))), TOOL),
            (problem(), replace(PROOF, evidence=replace(TREE, intermediate="interval")), TOOL),
            (problem(), replace(PROOF, evidence=replace(TREE, trees=(("leaf", 1), ("leaf", 0)))), TOOL),
            (problem(), replace(PROOF, evidence=replace(TREE, choices={})), TOOL),
            (problem(), PROOF, TOOL | {"version": "2"}),
        ],
    )
    def test_the_id_binds(self, other):
        assert digest(encode(*other)[0]) != digest(encode(problem(), PROOF, TOOL)[0])

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("sigma", Fraction(1, 3)), ("grid", 256), ("on_grid", True), ("bound", "one-class"), ("samples", 101)),
            *(("selection_samples", 11), ("counts", (96, 3, 1)), ("top", 1), ("alpha", Fraction(1, 999))),
            *(("seed", "cd" * 32), ("sampler", "other")),
        ],
    )
    def test_the_id_binds_votes(self, field, value):
        other = replace(SMOOTHED, evidence=replace(VOTES, **{field: value}))
        assert encode(problem("l2"), other, TOOL)[0] != encode(problem("l2"), SMOOTHED, TOOL)[0]

    @pytest.mark.parametrize(
        "evidence",
        [
            replace(BROKEN.evidence, point=X + 1),
            replace(BROKEN.evidence, runtime_version="1.21"),
            replace(BROKEN.evidence, runtime_output=np.ones((1, 3), np.float32)),
        ],
    )
    def test_the_id_binds_witnesses(self, evidence):
        assert encode(problem(), replace(BROKEN, evidence=evidence), TOOL)[0] != encode(problem(), BROKEN, TOOL)[0]

    def test_trees_of_numpy_and_rationals(self):
        tree = ("input", np.int64(1), Fraction(1, 2), ("leaf", np.int32(0)), ["leaf", 1])
        manifest, _ = encode(problem(), replace(PROOF, evidence=replace(TREE, trees=(tree,))), TOOL)
        assert json.loads(manifest)["evidence"]["trees"] == [["input", 1, "1/2", ["leaf", 0], ["leaf", 1]]]

    @pytest.mark.parametrize("name", ["center", "low", "property/0/rows", "witness", "slope/0/z", "", "x/slopes/"])
    def test_a_proof_cannot_replace_the_question(self, name):
        """A tensor named `center` among the choices would make the certificate speak of another input."""
        for asked in (problem(), problem("box", LINEAR)):
            lying = replace(PROOF, evidence=replace(TREE, choices={name: np.zeros((1, 2), np.float32)}))
            with pytest.raises(UsageError, match=r"^choices: "):
                encode(asked, lying, TOOL)

    def test_refuses_what_it_has_no_words_for(self):
        with pytest.raises(UsageError, match=r"^finding: "):
            encode(problem(), replace(PROOF, evidence=None), TOOL)


class TestBundle:
    def test_bytes(self, tmp_path):
        """The same file each time, stored, with a fixed date, readable once unpacked, and read by the checker."""
        manifest, payload = encode(problem(), PROOF, TOOL)
        for name in ("a.zip", "b.zip"):
            write_bundle(tmp_path / name, manifest, payload, NET.network.source)
        assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "b.zip"]
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            infos = archive.infolist()
        assert [i.filename for i in infos] == ["manifest.json", "payload.safetensors", "model.onnx"]
        for info in infos:
            assert info.compress_type == zipfile.ZIP_STORED and info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.create_system == 3 and (info.external_attr >> 16) & 0o777 == 0o644
        read = bundle.read(tmp_path / "a.zip")
        assert (read.manifest, read.payload, read.model) == (manifest, payload, NET.network.source)

    def test_without_the_model(self, tmp_path):
        write_bundle(tmp_path / "c.zip", b"{}", b"")
        assert bundle.read(tmp_path / "c.zip").model is None

    def test_replaces_a_torn_file(self, tmp_path):
        path = tmp_path / "c.zip"
        path.write_bytes(b"PK torn")
        write_bundle(path, b"{}", b"1")
        assert bundle.read(path).payload == b"1"

    def test_a_folder_that_is_not_there(self, tmp_path):
        for path in (tmp_path / "none" / "c.zip", tmp_path):
            with pytest.raises(UsageError, match=r"^path: .*file that can be written"):
                write_bundle(path, b"{}", b"")
        assert list(tmp_path.iterdir()) == []
