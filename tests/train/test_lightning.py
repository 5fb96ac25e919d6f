"""The Lightning callback, against Lightning itself where it is installed, else against what it calls of a trainer."""

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from unmoved.core.errors import UnmovedError, UsageError
from unmoved.train import CertifiedShare, mlp
from unmoved.train.lightning import certified_accuracy


class Trainer:
    """Epochs that make the net worse after the third, as a trainer would call them."""

    def __init__(self):
        self.current_epoch, self.should_stop = 0, False

    def fit(self, holder, callback, change, epochs):
        for self.current_epoch in range(epochs):
            change(holder.model, self.current_epoch)
            callback.on_train_epoch_end(self, holder)
            if self.should_stop:
                break
        callback.on_train_end(self, holder)


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.model, self.logged = mlp(inputs=4, hidden=(3,), classes=2), []

    def log(self, name, value, **_):
        self.logged.append((name, value))


@pytest.fixture
def lightning(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "lightning.pytorch.callbacks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["lightning.pytorch.callbacks"].Callback = type("Callback", (), {})


def scale(module, epoch):
    """Epoch e leaves the value [.2, .5, .8, .7, .6, ...][e] in the last bias."""
    values = (0.2, 0.5, 0.8, 0.7, 0.6, 0.5, 0.4)
    with torch.no_grad():
        module[-1].bias.fill_(values[epoch])


def read(module):
    return float(module[-1].bias[0].detach())


def test_it_logs_stops_and_keeps_the_best(lightning):
    holder, trainer = Holder(), Trainer()
    trainer.fit(holder, certified_accuracy(read, part="model", patience=2), scale, 7)
    assert [round(value, 6) for _, value in holder.logged] == [0.2, 0.5, 0.8, 0.7, 0.6]
    assert trainer.should_stop and read(holder.model) == pytest.approx(0.8)


def test_epochs_before_the_ramp_ends_do_not_count(lightning):
    holder = Holder()
    Trainer().fit(holder, certified_accuracy(read, part="model", patience=1, after=3), scale, 7)
    assert len(holder.logged) == 5 and read(holder.model) == pytest.approx(0.7)


def test_without_patience_it_only_looks(lightning):
    holder = Holder()
    Trainer().fit(holder, certified_accuracy(read, part="model"), scale, 7)
    assert len(holder.logged) == 7 and read(holder.model) == pytest.approx(0.4)


def test_its_state_goes_on_after_a_resume(lightning):
    holder, first = Holder(), certified_accuracy(read, part="model", patience=2)
    Trainer().fit(holder, first, scale, 4)
    again = certified_accuracy(read, part="model", patience=2)
    again.load_state_dict(first.state_dict())
    assert (again.best, again.idle) == (first.best, 1)


def test_the_share_of_a_linear_net_is_that_of_its_distances(lightning):
    holder = Holder()
    holder.model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    with torch.no_grad():
        scores = holder.model(torch.from_numpy(x)).numpy()
    row = (holder.model[1].weight[0] - holder.model[1].weight[1]).detach().numpy()
    distances = np.abs(scores[:, 0] - scores[:, 1]) / np.abs(row).sum()
    eps = float(np.sort(distances)[20:22].mean())
    callback = certified_accuracy(CertifiedShare(x, scores.argmax(1), eps, None), part="model")
    callback.on_train_epoch_end(Trainer(), holder)
    assert holder.logged == [("certified", (distances > eps).mean())]


def test_misuse(lightning, monkeypatch):
    with pytest.raises(UsageError, match="patience"):
        certified_accuracy(read, patience=0)
    for name in ("lightning.pytorch.callbacks", "pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnmovedError, match="lightning"):
        certified_accuracy(read)


def test_with_lightning_itself():
    pytorch = pytest.importorskip("lightning.pytorch")

    class Net(pytorch.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = mlp(inputs=4, hidden=(3,), classes=2)

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    x, y = torch.randn(40, 4), torch.arange(40) % 2
    net = Net()
    callback = certified_accuracy(CertifiedShare(x.numpy(), y.numpy(), 0.01, None), part="model", patience=2)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 20)
    trainer = pytorch.Trainer(
        max_epochs=9,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(net, data)
    # a learning rate of 0: the first epoch is the best, and two without a gain end it
    assert trainer.current_epoch == 3 and "certified" in trainer.callback_metrics
