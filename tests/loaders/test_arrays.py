"""npz files: what is read, what is said, and what is refused at the door."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from unmoved.core.errors import LoadError, UsageError
from unmoved.loaders.arrays import load_npz

X, Y = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4), np.array([0, 2, 1])


def saved(folder: Path, **arrays: object) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def test_float32_comes_back_as_it_is(tmp_path: Path) -> None:
    x, y, remark = load_npz(saved(tmp_path, x=X, y=Y))
    assert x.dtype == np.float32 and y.dtype == np.int64 and remark == ""
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_other_names_and_compression(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "data.npz", images=X, labels=Y.astype(np.uint8))
    x, y, _ = load_npz(tmp_path / "data.npz", x="images", y="labels")
    np.testing.assert_array_equal(x, X)
    assert y.dtype == np.int64


def test_bytes_are_divided_by_255_and_that_is_said(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(4, 64)
    x, _, remark = load_npz(saved(tmp_path, x=levels, y=np.zeros(4, dtype=np.int32)))
    assert "255" in remark
    # The correctly rounded quotient, by float64 and one more rounding (exact here: 255 has eight bits).
    np.testing.assert_array_equal(x, (levels / 255.0).astype(np.float32))


def test_doubles_are_rounded_and_that_is_said(tmp_path: Path) -> None:
    _, _, remark = load_npz(saved(tmp_path, x=X.astype(np.float64) + 1e-12, y=Y))
    assert "rounded" in remark
    assert load_npz(saved(tmp_path, x=X.astype(np.float64), y=Y))[2] == ""
    assert load_npz(saved(tmp_path, x=np.arange(12).reshape(3, 4), y=Y))[2] == ""


@pytest.mark.parametrize(
    ("arrays", "argument"),
    [
        ({"x": X * np.nan, "y": Y}, "x"),
        ({"x": np.where(X > 0.5, np.inf, X), "y": Y}, "x"),
        ({"x": X.astype(np.float64) + 1e300, "y": Y}, "x"),
        ({"x": X.astype(str), "y": Y}, "x"),
        ({"x": X.astype(complex), "y": Y}, "x"),
        ({"x": X > 0.5, "y": Y}, "x"),
        ({"x": X[0], "y": Y}, "x"),
        ({"x": X[:0], "y": Y[:0]}, "x"),
        ({"x": X[:, :0], "y": Y}, "x"),
        ({"x": X, "y": Y[:2]}, "y"),
        ({"x": X, "y": Y.astype(np.float64)}, "y"),
        ({"x": X, "y": Y.astype(str)}, "y"),
        ({"x": X, "y": Y[:, None]}, "y"),
        ({"x": X, "y": Y - 1}, "y"),
        ({"x": X, "y": np.full(3, 2**63, dtype=np.uint64)}, "y"),
    ],
)
def test_data_that_no_model_could_take(arrays: dict[str, np.ndarray], argument: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_npz(saved(tmp_path, **arrays))
    assert caught.value.argument == argument


def test_missing_names_list_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="images, labels"):
        load_npz(saved(tmp_path, images=X, labels=Y))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(UsageError, match="data"):
            load_npz(path)


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    whole = saved(tmp_path, x=X, y=Y).read_bytes()
    np.save(tmp_path / "one.npy", X)
    wrong = {
        "empty": b"",
        "text": b"x,y\n1,2\n",
        "array": (tmp_path / "one.npy").read_bytes(),
        "pickle": pickle.dumps({"x": X, "y": Y}),
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:150] + bytes([whole[150] ^ 255]) + whole[151:],
    }
    for name, content in wrong.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(LoadError, match=name) as caught:
            load_npz(tmp_path / f"{name}.npz")
        assert "\n" not in str(caught.value)


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    ran = []

    class Trap:
        def __reduce__(self):
            return (ran.append, (1,))

    with pytest.raises(LoadError):
        load_npz(saved(tmp_path, x=np.array([Trap()], dtype=object), y=Y))
    assert not ran
