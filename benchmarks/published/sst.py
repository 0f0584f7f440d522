"""Recurrent networks for the temperature of the sea (arXiv:2004.10928), on the published protocol and on a clean one.

``python benchmarks/published/sst.py [--seeds 5] [--trials 40] [--protocols NAME ...] [--methods NAME ...] [--table]``

``published``: the space of 8,605,184 stacked LSTMs, validated on a random fifth of the windows, most of whose weeks are
in windows of training, too; the best network of the search is trained for 200 epochs. ``clean``: networks with a direct
head, validated on the last fifth of the weeks; the best three are trained again with three new seeds, and the one with
the best mean is asked once for the 685 windows of later weeks (1990 and after), which no method sees: as it is, and
trained on all 427 weeks, those of validation included. There the mean of the three forecasts is asked, too. Models by
hand are trained as often.

All methods train as many networks for as many epochs. PILOTUNE_DATA names the folder of ``sst_pod``. Results are kept
in a file as they come; the next call goes on. ``--table`` prints the tables and runs nothing.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import optuna
import torch
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from torch import nn

from benchmarks import common
from benchmarks.published import kept
from benchmarks.published.search import Method, Point, Tried, gain, interval, searched, wins
from pilotune.architecture import build


def load_module(file: Path, name: str) -> ModuleType:
    """A module by its file."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLE = Path(__file__).resolve().parents[2] / "examples/sst-lstm"
sst: Any = load_module(EXAMPLE / "train.py", "sst_train")
"""The objective of the example, whose data and training are used here."""

PROTOCOLS = {"published": "published.yaml", "clean": "study.yaml"}
METHODS = {
    "random": ("sampler=random",),
    "ageing": ("sampler=ageing",),
    "tpe": ("sampler=tpe",),
    "default": ("sampler=auto",),
}
"""By method, what it changes in the study file."""

BEST, AGAIN = 3, 3
"""Networks of a search that are trained again, and with how many new seeds each."""


@dataclass(frozen=True)
class Result:
    """A search, or a model made by hand, with one seed.

    Attributes:
        found: The best R2 of validation among the trials of the search.
        valid: The R2 of validation of the network that was chosen, trained again.
        later: Its R2 on later weeks.
        refit: The same, trained on the weeks of validation, too; None in the published protocol.
        averaged: That of the mean of the forecasts of all networks that were trained so; None likewise.
        seconds: CPU time.
    """

    protocol: str
    method: str
    seed: int
    found: float
    valid: float
    later: float
    refit: float | None
    averaged: float | None
    seconds: float


def later_weeks() -> tuple[np.ndarray, np.ndarray]:
    return sst.windows(sst.weeks("True_Test_0_700.npy"))


def all_weeks() -> tuple[np.ndarray, np.ndarray]:
    """What there is to train with when validation is over."""
    return sst.windows(sst.weeks("True_Train.npy"))


def trained(params: dict[str, Any], seed: int, x: np.ndarray, y: np.ndarray, epochs: int | None = None) -> nn.Module:
    """A network of the search, trained from nothing."""
    torch.manual_seed(seed)
    net = build(params, "net")
    sst.fitted(net, x, y, params["lr"], epochs or params["epochs"], params["schedule"])
    return net


def asked(net: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """The R2 of what a network forecasts."""
    return float(sst.r2(y, sst.forecast(net, x)))


def curve(params: dict[str, Any], seed: int, _: bool) -> Iterator[Point]:
    """Trains a network of the search."""
    x, y, x_valid, y_valid = sst.splits(params["split"], params["seed"])
    yield Point(params["epochs"], asked(trained(params, seed, x, y), x_valid, y_valid), 0.0)


def search(protocol: str, method: str, seed: int, trials: int) -> Result:
    began = time.process_time()
    overrides = (*METHODS[method], f"space.seed={seed}", f"budget.trials={trials}")
    tried = searched(EXAMPLE / PROTOCOLS[protocol], Method(method, overrides), curve, seed, trials, 1)
    best = sorted(tried, key=lambda each: -each.score)
    ends = (published_end if protocol == "published" else clean_end)(best, seed)
    return Result(protocol, method, seed, best[0].score, *ends, round(time.process_time() - began, 1))


def published_end(best: list[Tried], seed: int) -> tuple[float, float, None, None]:
    """The best network, trained for 200 epochs: R2 of validation and on later weeks."""
    params = best[0].params
    x, y, x_valid, y_valid = sst.splits(params["split"], params["seed"])
    net = trained(params, 1000 + seed, x, y, 200)
    return asked(net, x_valid, y_valid), asked(net, *later_weeks()), None, None


def new_seeds(seed: int) -> list[int]:
    """Seeds that no search has used."""
    return [1000 + AGAIN * seed + index for index in range(AGAIN)]


def clean_end(best: list[Tried], seed: int) -> tuple[float, float, float, float]:
    """The best of the best networks with new seeds: mean R2 of validation, on later weeks, and there when refitted.

    The last is that of the mean forecast of the refitted ones.
    """
    seeds = new_seeds(seed)
    x, y, x_valid, y_valid = sst.splits("blocked", 0)
    candidates = []
    for each in best[:BEST]:
        nets = [trained(each.params, new, x, y) for new in seeds]
        candidates.append((float(np.mean([asked(net, x_valid, y_valid) for net in nets])), nets, each.params))
    valid, nets, params = max(candidates, key=lambda each: each[0])
    refitted = [trained(params, new, *all_weeks()) for new in seeds]
    later = float(np.mean([asked(net, *later_weeks()) for net in nets]))
    return valid, later, *later_scores([sst.forecast(net, later_weeks()[0]) for net in refitted])


def later_scores(forecasts: list[np.ndarray]) -> tuple[float, float]:
    """R2 on later weeks: the mean of several forecasts', and that of the mean forecast."""
    y = later_weeks()[1]
    return float(np.mean([sst.r2(y, each) for each in forecasts])), float(sst.r2(y, np.mean(forecasts, axis=0)))


# -- models made by hand ----------------------------------------------------------------------------------------------


class Manual(nn.Module):
    """An LSTM of 80 units and one that gives the forecast, as the paper's networks by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.LSTM(5, 80, batch_first=True), nn.LSTM(80, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x)[0])[0]


class Direct(nn.Module):
    """An LSTM of 64 units with a linear head for all eight weeks, which forecasts the change from the last week."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 64, batch_first=True), nn.Linear(64, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1]).reshape(-1, 8, 5) + x[:, -1:]


Model = Callable[[int], Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]]


def network(kind: type[nn.Module]) -> Model:
    def make(seed: int) -> Any:
        def fit(x: np.ndarray, y: np.ndarray) -> Any:
            torch.manual_seed(seed)
            net = kind()
            sst.fitted(net, x, y, 3e-3, 20, "one-cycle")
            return lambda given: sst.forecast(net, given)

        return fit

    return make


def plain(make: Callable[[int], Any]) -> Model:
    def made(seed: int) -> Any:
        def fit(x: np.ndarray, y: np.ndarray) -> Any:
            model = make(seed).fit(x.reshape(len(x), -1), y.reshape(len(y), -1))
            return lambda given: model.predict(given.reshape(len(given), -1)).reshape(given.shape)

        return fit

    return made


BY_HAND: dict[str, Model] = {
    "persistence": lambda seed: lambda x, y: lambda given: np.repeat(given[:, -1:], sst.WEEKS, axis=1),
    "ridge": plain(lambda seed: Ridge(0.01)),
    "random forest": plain(lambda seed: RandomForestRegressor(100, random_state=seed)),
    "LSTM by hand": network(Manual),
    "LSTM, direct head": network(Direct),
}


def by_hand(protocol: str, name: str, seed: int) -> Result:
    began = time.process_time()
    x, y, x_valid, y_valid = sst.splits("shuffled" if protocol == "published" else "blocked", seed)
    model = BY_HAND[name](seed)(x, y)
    x_later, y_later = later_weeks()
    valid, later = sst.r2(y_valid, model(x_valid)), sst.r2(y_later, model(x_later))
    refitted = [] if protocol == "published" else [BY_HAND[name](new)(*all_weeks())(x_later) for new in new_seeds(seed)]
    ends = later_scores(refitted) if refitted else (None, None)
    return Result(protocol, name, seed, valid, valid, later, *ends, round(time.process_time() - began, 1))


# -- tables -----------------------------------------------------------------------------------------------------------


def table_of(results: list[dict[str, Any]], protocol: str, trials: int) -> str:
    """A row for each model by hand and each method; seeds are compared on later weeks."""
    mine = [each for each in results if each["protocol"] == protocol]
    last = "later" if protocol == "published" else "averaged"
    random = {each["seed"]: each[last] for each in mine if each["method"] == "random"}
    rows: list[list[object]] = []
    for name in (*BY_HAND, *METHODS):
        found = [each for each in mine if each["method"] == name]
        if not found:
            continue
        ends = {each["seed"]: each[last] for each in found}
        of_search = None if name in BY_HAND else percent(found, "found")
        compared = name not in ("random", *BY_HAND) and bool(random)
        against = [gain(hundred(ends), hundred(random)), wins(ends, random)] if compared else [None, None]
        refit = [] if protocol == "published" else [percent(found, "refit"), percent(found, "averaged")]
        seconds = float(np.mean([each["seconds"] for each in found]))
        rows.append(
            [name, len(found), of_search, percent(found, "valid"), percent(found, "later"), *refit, *against, seconds]
        )
    head = ["model or method", "seeds", "best of the search", "validation", "later weeks"]
    head += [] if protocol == "published" else ["later, trained on all", "their mean forecast"]
    title = (
        f"Sea-surface temperature, {protocol} protocol, {trials} networks a search: 100 R2, means and 95 % intervals"
    )
    return common.table(title, [*head, "above random", "wins / ties / losses", "CPU s"], rows)


def percent(found: list[dict[str, Any]], key: str) -> str:
    """The interval of a value, as hundredths."""
    return interval([100 * each[key] for each in found])


def hundred(values: dict[int, float]) -> dict[int, float]:
    return {seed: 100 * value for seed, value in values.items()}


def main() -> None:
    parser = kept.search_parser(__doc__, 5, METHODS)
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    results, trials, seeds = kept.to_search(options, "sst")
    for seed, protocol, name in product(seeds, options.protocols, (*BY_HAND, *options.methods)):
        make = (
            partial(by_hand, protocol, name, seed) if name in BY_HAND else partial(search, protocol, name, seed, trials)
        )
        results.add_missing({"protocol": protocol, "method": name, "seed": seed}, make)
    tables = "\n".join(table_of(results.rows, protocol, trials) for protocol in options.protocols)
    tables += "\nA row of one seed has no interval, and says nothing about which method is better.\n"
    common.finish("Published experiments: sea-surface temperature", tables, options.keep)


if __name__ == "__main__":
    main()
