"""Whatever classifies as the base of Smoothed: the same votes as the same function written by hand; clear refusals."""

import numpy as np
import pytest
import torch
from torch import nn

from unmoved.core.errors import UsageError
from unmoved.loaders import load_torch
from unmoved.smooth import Gaussian, Smoothed, Stream, VoteCounter
from unmoved.smooth.voting.adapters import BATCH, base_of, readable
from unmoved.smooth.voting.engine import Setup, has_bfloat16, prepare

torch.set_num_threads(1)
NOISE = Gaussian("1/2")
X = (np.arange(12).reshape(3, 2, 2) * 20 / 255).astype(np.float32)


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)).eval()


@pytest.fixture(scope="module")
def network():
    return load_torch(module(), (1, 3, 2, 2))


def votes(classify, classes, batch=BATCH, samples=500):
    stream = Stream(b"a" * 32)
    return VoteCounter(classify, NOISE, classes, batch).count(NOISE.place(X), range(samples), stream=stream).counts


def test_every_form_of_one_function_gives_the_same_votes(network, tmp_path):
    """The forms differ in the order of sums only; no copy of these is a tie."""
    path = tmp_path / "net.onnx"
    path.write_bytes(network.source)
    net = module()
    wanted = votes(lambda z: net(z), 3)
    assert sum(n > 0 for n in wanted) > 1
    forms = [net, network, path, str(path), network.source, prepare(network), lambda z: net(z)]
    for form in forms:
        base = base_of(readable(form), X.shape, classes=0, batch=0, setup=None)
        assert base.classes == 3 and votes(base.classify, 3, base.batch) == wanted
        assert (base.model == network.digest) == (form is not net and form is not forms[-1])
    seen = {Smoothed(form, NOISE, model="m").certify(X, samples=500).counts for form in forms}
    assert len(seen) == 1


def test_a_module_with_a_setup_goes_through_the_engine(network):
    plain = base_of(module(), X.shape, classes=0, batch=0, setup=Setup())
    assert "folded" not in plain.engine and plain.model and plain.classes == 3
    if has_bfloat16():
        assert "bfloat16" in base_of(module(), X.shape, classes=0, batch=0, setup=Setup("bfloat16")).engine
    bare = base_of(module(), X.shape, classes=0, batch=64, setup=None)
    assert bare.model == "" and bare.engine.startswith("Sequential, float32, batch 64")
    assert votes(plain.classify, 3) == votes(bare.classify, 3)


def test_predict_and_certify_agree_whatever_the_batch(network):
    results = [Smoothed(network, NOISE, batch=batch).certify(X, samples=700) for batch in (0, 1, 64, 333)]
    assert len({result.counts for result in results}) == 1
    assert len({result.engine for result in results}) == 4, "the batch is part of what is evaluated, and is said"


def test_classes_are_found_or_asked_for(network):
    assert Smoothed(lambda z: z.flatten(1)[:, :4], NOISE).certify(X, samples=300).counts[3] >= 0
    with pytest.raises(UsageError, match="give the number of classes"):
        Smoothed(lambda z: z.flatten(1).argmax(1), NOISE).certify(X)
    assert len(Smoothed(lambda z: z.flatten(1).argmax(1), NOISE, 12).predict(X).counts) == 12
    with pytest.raises(UsageError, match="as many as the classifier has"):
        Smoothed(network, NOISE, 4).predict(X)
    with pytest.raises(UsageError, match=r"logits \(256, 4\)"):
        Smoothed(module(), NOISE, 4).predict(X)
    with pytest.raises(UsageError, match="classes"):
        Smoothed(module(), NOISE, 1)


def test_what_is_no_classifier_is_refused_with_what_would_do(network, tmp_path):
    with pytest.raises(UsageError, match=r"int.*expected an \.onnx file, a Network, a torch module, a fitted scikit"):
        Smoothed(3, NOISE)
    with pytest.raises(UsageError, match="existing"):
        Smoothed(str(tmp_path / "none.onnx"), NOISE)
    with pytest.raises(UsageError, match=r"training mode.*call \.eval"):
        Smoothed(module().train(), NOISE)
    with pytest.raises(UsageError, match="elements"):
        Smoothed(network, NOISE).predict(np.zeros(5, np.float32))
    if has_bfloat16():
        with pytest.raises(UsageError, match="called as it is"):
            Smoothed(lambda z: z.flatten(1), NOISE, setup=Setup("bfloat16")).predict(X)


def fitted(labels):
    linear = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(90, 4))
    names = np.array(labels)[np.argmax(rows[:, : len(labels)], axis=1)]
    return linear.LogisticRegression().fit(rows, names)


@pytest.mark.parametrize("labels", [["one", "three", "two"], [-1, 1], [3, 5, 9]])
def test_scikit_learn_classifiers_vote_by_place_in_classes(labels):
    estimator = fitted(labels)
    x = np.full(4, 0.2, np.float32)
    point, stream, noise = NOISE.place(x), Stream(b"b" * 32), NOISE
    copies = np.empty((400, 4), np.float32)
    noise.sample(point, copies, stream=stream, first=0)
    predicted = estimator.predict(copies)
    base = base_of(readable(estimator), (4,), classes=0, batch=0, setup=None)
    counts = VoteCounter(base.classify, noise, base.classes, base.batch).count(point, range(400), stream=stream).counts
    assert counts == tuple(int((predicted == label).sum()) for label in sorted(labels))
    assert Smoothed(estimator, NOISE).predict(x).engine.startswith("LogisticRegression")


def test_estimators_that_are_not_ready():
    linear = pytest.importorskip("sklearn.linear_model")
    with pytest.raises(UsageError, match="call fit first"):
        Smoothed(linear.LogisticRegression(), NOISE)
    with pytest.raises(UsageError, match="classes_"):
        Smoothed(linear.LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), NOISE)
    estimator = fitted([0, 1])
    with pytest.raises(ValueError, match="features"):
        Smoothed(estimator, NOISE).predict(np.zeros(5, np.float32))
    estimator.predict = lambda rows: np.full(len(rows), 7)
    with pytest.raises(UsageError, match="not in classes_"):
        Smoothed(estimator, NOISE).predict(np.zeros(4, np.float32))
