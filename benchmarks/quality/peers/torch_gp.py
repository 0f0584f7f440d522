"""BoTorch: log expected improvement with running trials as pending points, and TuRBO-1, a trust region."""

from __future__ import annotations

import math

import numpy as np

from ..problems import Params
from .base import Cube, Outside, Setting


class TorchGP(Outside):
    """Results in a unit cube, and BoTorch's Gaussian process on them. A failed trial counts as the worst value.

    Args:
        setting: What it is made for.
        start: How many configurations are drawn from a Sobol sequence at first.
    """

    def __init__(self, setting: Setting, start: int):
        import torch

        super().__init__(setting)
        torch.manual_seed(setting.seed)
        torch.set_num_threads(1)
        self.torch = torch
        self.cube = Cube(self.distributions)
        self.sobol = torch.quasirandom.SobolEngine(self.cube.size, scramble=True, seed=setting.seed)
        self.start = start
        self.points: list[np.ndarray] = []
        self.values: list[float | None] = []

    def random(self) -> np.ndarray:
        return self.sobol.draw(1).double().numpy()[0]

    def data(self):
        """The finished trials' points, and minus their values, standardized."""
        known = [value for value in self.values if value is not None]
        worst = max(known)
        y = np.array([worst if value is None else value for value in self.values])
        spread = y.std() if y.std() > 0 else 1.0
        x = self.torch.tensor(np.array(self.points))
        return x, self.torch.tensor((y.mean() - y) / spread).unsqueeze(-1)

    def fitted(self):
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from gpytorch.mlls import ExactMarginalLogLikelihood

        x, y = self.data()
        model = SingleTaskGP(x, y, outcome_transform=None)
        likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
        fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": 75}})
        return model, x, y

    def tell(self, params: Params, value: float | None) -> None:
        self.points.append(self.cube.point(params))
        self.values.append(value)


class LogEI(TorchGP):
    """``qLogExpectedImprovement`` with ``X_pending``, the model fitted anew for each suggestion."""

    def __init__(self, setting: Setting):
        super().__init__(setting, start=2 * len(setting.problem.space.parameters))

    def ask(self) -> Params:
        if sum(value is not None for value in self.values) < self.start:
            return self.cube.params(self.random())
        from botorch.acquisition import qLogExpectedImprovement
        from botorch.optim import optimize_acqf
        from botorch.sampling import SobolQMCNormalSampler

        torch = self.torch
        model, _, y = self.fitted()
        pending = [self.cube.point(params) for params in self.open.values()]
        acquisition = qLogExpectedImprovement(
            model,
            y.max(),
            SobolQMCNormalSampler(torch.Size([128])),
            X_pending=torch.tensor(np.array(pending)) if pending else None,
        )
        bounds = torch.stack([torch.zeros(self.cube.size), torch.ones(self.cube.size)]).double()
        options = {"maxiter": 50}
        best, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=4, raw_samples=128, options=options)
        return self.cube.params(best.numpy()[0])


class Turbo(TorchGP):
    """TuRBO-1 (Eriksson et al. 2019): Thompson sampling in one trust region, begun anew where it has shrunk away.

    Constants are the paper's, with a batch of one: the region doubles after 3 successes, and halves after as many
    failures as there are coordinates. The model is fitted anew after every fourth result.
    """

    EVERY = 4

    def __init__(self, setting: Setting):
        super().__init__(setting, start=2 * len(setting.problem.space.parameters))
        self.begin()
        self.model = None
        self.fitted_at = 0

    def begin(self) -> None:
        self.length, self.successes, self.failures = 0.8, 0, 0
        self.best = math.inf
        self.first = len(self.values)  # of this region: earlier results are not used

    def tell(self, params: Params, value: float | None) -> None:
        super().tell(params, value)
        number = math.inf if value is None else value
        if number < self.best - 1e-3 * abs(self.best if math.isfinite(self.best) else 0.0):
            self.successes, self.failures = self.successes + 1, 0
        else:
            self.successes, self.failures = 0, self.failures + 1
        self.best = min(self.best, number)
        if self.successes == 3:
            self.length, self.successes = min(1.6, 2 * self.length), 0
        elif self.failures >= max(4, self.cube.size):
            self.length, self.failures = self.length / 2, 0
        if self.length < 0.5**7:
            self.begin()
            self.model = None

    def data(self):
        x, y = super().data()
        return x[self.first :], y[self.first :]

    def ask(self) -> Params:
        known = [value for value in self.values[self.first :] if value is not None]
        if len(known) < self.start:
            return self.cube.params(self.random())
        if self.model is None or len(self.values) - self.fitted_at >= self.EVERY:
            self.model, self.x, self.y = self.fitted()
            self.fitted_at = len(self.values)
        return self.cube.params(self.drawn())

    def drawn(self) -> np.ndarray:
        """The best of a posterior sample at perturbations of the centre within the region."""
        torch, size = self.torch, self.cube.size
        centre = self.x[int(self.y.argmax())]
        scales = getattr(self.model.covar_module, "base_kernel", self.model.covar_module).lengthscale.detach().flatten()
        weights = scales / scales.mean()
        weights = weights / torch.prod(weights ** (1 / size))
        low = (centre - weights * self.length / 2).clamp(0, 1)
        high = (centre + weights * self.length / 2).clamp(0, 1)
        count = min(100 * size, 1000)
        candidates = low + (high - low) * torch.rand(count, size, dtype=torch.double)
        moves = torch.rand(count, size) <= min(20 / size, 1.0)
        moves[torch.arange(count), torch.randint(size, (count,))] = True
        candidates = torch.where(moves, candidates, centre)
        with torch.no_grad():
            sample = self.model.posterior(candidates).sample().flatten()
        return candidates[int(sample.argmax())].numpy()
