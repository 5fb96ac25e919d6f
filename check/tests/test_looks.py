"""Looks, recorded classes and seeds of counts evidence: what is accepted, and every way of lying about them."""

import json
import random
import struct
import zlib
from fractions import Fraction
from hashlib import sha256

import pytest

from unmoved_check.classes import check_classes, tree_hash
from unmoved_check.outcome import Rejection
from unmoved_check.schedule import geometric, single
from unmoved_check.seed import check_seed
from unmoved_check.tensor import Tensor


@pytest.mark.parametrize("n", [1, 2, 49, 50, 51, 74, 75, 76, 112, 113, 1000, 10_000, 99_999, 10**8])
def test_geometric_looks_by_definition(n):
    sizes, shares = geometric(n)
    expected = [int(Fraction(50) * Fraction(3, 2) ** k) for k in range(60)]
    assert list(sizes) == [size for size in expected if size < n] + [n]
    assert sum(shares) == 1 and len(shares) == len(sizes) and len(set(shares[:-1])) <= 1
    assert shares[-1] == (Fraction(1, 2) if len(sizes) > 1 else 1)
    assert single(n) == ((n,), (1,))


# --- classes -----------------------------------------------------------------------------------------------------


def record(labels, bits=8, **changes):
    data = struct.pack(f"<{len(labels)}{'B' if bits == 8 else 'H'}", *labels)
    step = 128 * bits // 8
    root = tree_hash([data[i : i + step] for i in range(0, len(data), step)]).hex()
    packed = zlib.compress(data)
    told = {"root": root, "bits": bits, "tensor": "classes"} | {k: v for k, v in changes.items() if k != "packed"}
    packed = changes.get("packed", packed)
    return told, Tensor("U8", (len(packed),), packed)


def counts_of(labels, classes):
    return [labels.count(label) for label in range(classes)]


@pytest.mark.parametrize("number", [1, 127, 128, 129, 1000])
@pytest.mark.parametrize(("bits", "classes"), [(8, 10), (16, 10), (16, 1000), (8, 256)])
def test_honest_classes(number, bits, classes):
    draw = random.Random(number)
    labels = [draw.randrange(classes) for _ in range(number)]
    told, tensor = record(labels, bits)
    check_classes(told, tensor, counts_of(labels, classes))
    check_classes(told, None, counts_of(labels, classes))


LABELS = [0] * 290 + [1] * 10
BOMB = zlib.compress(bytes(10**7))


@pytest.mark.parametrize(
    ("told", "counts", "reason"),
    [
        (record(LABELS), [291, 9], "add up"),
        (record(LABELS), [289, 11], "add up"),
        (record(LABELS), [290, 9], "as many"),
        (record([*LABELS[:-1], 2]), [290, 10], "one that there is not"),
        (record(LABELS, root="00" * 32), [290, 10], "do not hash"),
        (record(LABELS[::-1], root=record(LABELS)[0]["root"]), [290, 10], "do not hash"),
        (record(LABELS, root="0G" * 32), [290, 10], "no sha256"),
        (record(LABELS, root=1), [290, 10], "no sha256"),
        (record(LABELS, bits=16, root="00" * 32), [145, 5], "do not hash|as many"),
        (record(LABELS, packed=b"nonsense"), [290, 10], "no zlib stream"),
        (record(LABELS, packed=BOMB), [290, 10], "as many"),
        (record(LABELS, packed=zlib.compress(bytes(290) + b"\1" * 10) + b"x"), [290, 10], "as many"),
        (record(LABELS, packed=zlib.compress(bytes(290) + b"\1" * 10)[:-1]), [290, 10], "as many"),
    ],
)
def test_dishonest_classes(told, counts, reason):
    with pytest.raises(Rejection, match=reason):
        check_classes(*told, counts)


@pytest.mark.parametrize("bits", [0, 1, 32, "8", True, 8.0, None])
def test_widths(bits):
    told, tensor = record(LABELS)
    with pytest.raises(Rejection, match="8 nor 16"):
        check_classes(told | {"bits": bits}, tensor, [290, 10])


def test_classes_are_bytes():
    told, _ = record(LABELS)
    with pytest.raises(Rejection, match="list of bytes"):
        check_classes(told, Tensor("U16", (1,), b"ab"), [290, 10])


# --- seeds -------------------------------------------------------------------------------------------------------


def question(number=7, looks="geometric", n=1000, x=(0.25, 0.1)):
    asked = {
        "bound": "two-class",
        "classes": 3,
        "grid": 255,
        "kind": "gaussian-grid",
        "looks": looks,
        "samples": n,
        "sampler": "philox4x32-10/grid/1",
        "scale": "1/2",
        "selection": 100,
        "task": "certify",
    }
    parts = (
        b"unmoved/smooth/seed/1",
        str(number).encode(),
        b"ab" * 32,
        b"[1, 2]",
        struct.pack("<2f", *x),
        json.dumps(asked, sort_keys=True, separators=(",", ":")).encode(),
    )
    seed = sha256(b"".join(len(part).to_bytes(8, "little") + part for part in parts)).hexdigest()
    evidence = {
        "bound": "two-class",
        "counts": [1, 2, 3],
        "grid": 255,
        "noise": "gaussian-grid",
        "sigma": "0.5",
        "looks": {"sizes": list((geometric if looks == "geometric" else single)(n)[0])},
        "number": number,
        "sampler": "philox4x32-10/grid/1",
        "selection_samples": 100,
        "seed": seed,
    }
    return {"evidence": evidence, "model": {"sha256": "ab" * 32}}, Tensor("F32", (1, 2), struct.pack("<2f", *x))


@pytest.mark.parametrize("asked", [{}, {"looks": "single"}, {"n": 50}, {"n": 50, "looks": "single"}, {"number": -3}])
def test_a_seed_that_follows_from_the_question(asked):
    check_seed(*question(**asked), (1, 2))


def test_a_seed_that_is_not_explained_is_accepted_as_that():
    manifest, center = question()
    manifest["evidence"] |= {"number": None, "seed": "00" * 32}
    check_seed(manifest, center, (1, 2))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("number", 8), ("seed", "00" * 32), ("bound", "one-class"), ("grid", 256), ("sigma", "0.51")),
        *(
            ("selection_samples", 99),
            ("counts", [1, 2]),
            ("looks", {"sizes": [1000]}),
            ("sampler", "x"),
            ("noise", "y"),
        ),
        ("looks", {"sizes": list(geometric(1001)[0])}),
    ],
)
def test_a_seed_that_answers_another_question(field, value):
    manifest, center = question()
    manifest["evidence"][field] = value
    with pytest.raises(Rejection, match="not derived"):
        check_seed(manifest, center, (1, 2))


def test_another_input_model_or_shape():
    manifest, center = question()
    with pytest.raises(Rejection, match="not derived"):
        check_seed(manifest, center, (2, 1))
    with pytest.raises(Rejection, match="not derived"):
        check_seed(manifest, Tensor("F32", (1, 2), struct.pack("<2f", 0.25, 0.11)), (1, 2))
    with pytest.raises(Rejection, match="not derived"):
        check_seed(manifest | {"model": {"sha256": "cd" * 32}}, center, (1, 2))
    for number in ("7", 7.0, True):
        manifest["evidence"]["number"] = number
        with pytest.raises(Rejection, match="not an integer"):
            check_seed(manifest, center, (1, 2))
