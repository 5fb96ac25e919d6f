"""What every training objective must keep: a loss to descend, from a seed, that leaves everything else alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unmoved.train.architectures import small_cnn
from unmoved.train.initialise import interval_init
from unmoved.train.objective import Loss, Moment, Objective

SHAPE = (1, 8, 8)
Gradients = dict[str, Tensor]


@dataclass(eq=False)
class Bench:
    """A module, the losses made for it so far (exporting takes time), and the state that every test starts from."""

    module: nn.Module
    state: dict[str, Tensor]
    losses: dict[Objective, Loss] = field(default_factory=dict)

    def loss(self, objective: Objective) -> Loss:
        """Return the objective's loss on the module, which is put back into its first state, in training mode."""
        self.module.load_state_dict(self.state)
        self.module.train()
        if objective not in self.losses:
            self.losses[objective] = objective.start(self.module, SHAPE)
        return self.losses[objective]

    def measure(
        self, objective: Objective, x: Tensor, y: Tensor, progress: float = 1.0, *, seed: int = 0
    ) -> tuple[float, Gradients]:
        """Return the loss and the gradients of all parameters."""
        self.module.zero_grad()
        measured = self.loss(objective)(x, y, Moment(progress, torch.Generator().manual_seed(seed)))
        assert measured.loss.shape == (), "a loss is one number"
        assert all(p.grad is None for p in self.module.parameters()), "only whoever trains may fill .grad"
        assert all(isinstance(value, float) for value in measured.figures.values())
        measured.loss.backward()  # type: ignore[no-untyped-call]
        named = self.module.named_parameters()
        gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in named}
        self.module.zero_grad()
        return float(measured.loss.detach()), gradients


class ObjectiveContract(ABC):
    """Inherit, name the class Test..., give the hooks. Inputs are 8x8 images of ten classes in [0, 1]."""

    random = True
    """Whether the loss draws random numbers."""

    @abstractmethod
    def objective(self) -> Objective:
        """Return the objective, at settings that make all its terms count."""

    @abstractmethod
    def equals(self) -> Sequence[tuple[Objective, Objective]]:
        """Return pairs of the objective without its own part (eps 0, weight 0) and the simpler one that this is."""

    def module(self) -> nn.Module:
        """Return what is trained: the small CNN, or what the objective is made for."""
        module = small_cnn(side=8)
        interval_init(module, 0)
        with torch.no_grad():
            for part in module.modules():
                if isinstance(part, _BatchNorm):
                    part.running_mean.add_(0.3)  # type: ignore[union-attr]
                    part.weight.mul_(0.9)
        return module

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        """Provide one module for the whole class; one thread, so that sums are the same each time."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        module = cls().module()
        yield Bench(module, {name: tensor.clone() for name, tensor in module.state_dict().items()})
        torch.set_num_threads(threads)

    def batch(self, n: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return inputs (n, *SHAPE) and labels (n,)."""
        generator = torch.Generator().manual_seed(seed)
        return torch.rand((n, *SHAPE), generator=generator), torch.randint(0, 10, (n,), generator=generator)

    def test_the_loss_is_finite_and_differentiable(self, bench: Bench) -> None:
        """Early, in the middle and at the end; at the end every layer's weights get a gradient."""
        for progress in (0.0, 0.01, 0.3, 1.0):
            value, gradients = bench.measure(self.objective(), *self.batch(), progress)
            assert torch.tensor(value).isfinite()
            assert all(gradient.isfinite().all() for gradient in gradients.values()), progress
        assert all(g.abs().max() > 0 for g in gradients.values() if g.dim() >= 2)

    def test_the_gradient_is_the_slope_of_the_loss(self, bench: Bench) -> None:
        """A short step against the gradient lowers the loss: same batch, same random numbers."""
        before, gradients = bench.measure(self.objective(), *self.batch(), seed=5)
        size = sum(float(g.square().sum()) for g in gradients.values())
        bench.loss(self.objective())
        with torch.no_grad():
            for name, parameter in bench.module.named_parameters():
                parameter.sub_(gradients[name], alpha=1e-3 / size**0.5)
        loss = bench.losses[self.objective()]
        after = float(loss(*self.batch(), Moment(1.0, torch.Generator().manual_seed(5))).loss.detach())
        assert after < before

    def test_without_its_own_part_it_is_the_simpler_objective(self, bench: Bench) -> None:
        """The same loss and the same gradients, up to rounding."""
        for ours, theirs in self.equals():
            x, y = self.batch()
            value, gradients = bench.measure(ours, x, y)
            expected, wanted = bench.measure(theirs, x, y)
            assert value == pytest.approx(expected, rel=1e-4)
            scale = max(float(g.abs().max()) for g in wanted.values())
            for name, gradient in gradients.items():
                assert torch.allclose(gradient, wanted[name], rtol=1e-3, atol=1e-4 * scale), name

    def test_seeds_decide_everything(self, bench: Bench) -> None:
        """The same seed gives the same loss and gradients whatever torch drew before; another one another loss."""
        x, y = self.batch()
        value, gradients = bench.measure(self.objective(), x, y, seed=1)
        torch.rand(3)
        state = torch.get_rng_state()
        again, repeated = bench.measure(self.objective(), x, y, seed=1)
        assert value == again and all(torch.equal(gradients[name], repeated[name]) for name in gradients)
        assert torch.equal(state, torch.get_rng_state()), "torch's global generator is not ours to move"
        other, _ = bench.measure(self.objective(), x, y, seed=2)
        assert (other != value) == self.random

    def test_the_module_is_left_as_it_was(self, bench: Bench) -> None:
        """Nothing changes but the statistics of batch norm: no weight, mode, hook or flag; in eval mode not even those.

        In training mode the statistics move, and towards the batch's: finite, variances positive.
        """
        x, y = self.batch()
        loss, module = bench.loss(self.objective()), bench.module
        for training in (True, False):
            module.train(training)
            before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
            inputs, labels = x.clone(), y.clone()
            loss(x, y, Moment(1.0, torch.Generator().manual_seed(0)))
            for name, tensor in module.state_dict().items():
                moves = training and name.endswith(("running_mean", "running_var", "num_batches_tracked"))
                assert moves or torch.equal(tensor, before[name]), name
                assert tensor.isfinite().all()
            assert all(part.training == training for part in module.modules())
            assert all(p.requires_grad and p.grad is None for p in module.parameters())
            assert not any(part._forward_pre_hooks or part._forward_hooks for part in module.modules())
            assert torch.equal(x, inputs) and torch.equal(y, labels) and not x.requires_grad

    def test_two_inputs_are_a_batch(self, bench: Bench) -> None:
        """The smallest batch that batch norm takes."""
        value, gradients = bench.measure(self.objective(), *self.batch(2))
        assert torch.tensor(value).isfinite() and all(g.isfinite().all() for g in gradients.values())

    def test_settings_are_text_and_tell_objectives_apart(self) -> None:
        """What a checkpoint records."""
        objective = self.objective()
        assert objective.name and 0 <= objective.settled <= 1
        assert all(isinstance(k, str) and isinstance(v, str) for k, v in objective.settings().items())
        assert all(ours.settings() != objective.settings() for ours, _ in self.equals())
