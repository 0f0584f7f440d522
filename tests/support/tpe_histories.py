"""Random studies, and a comparison of our TPE with Optuna's on them."""

import math
import random
import warnings

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from pilotune.pipeline.suggest.tpe import TPESampler

KINDS = {
    "float": lambda r: FloatDistribution(*sorted((r.uniform(-5, 0), r.uniform(0.1, 5)))),
    "log": lambda r: FloatDistribution(10 ** r.uniform(-6, -3), 10 ** r.uniform(-2, 2), log=True),
    "step": lambda r: FloatDistribution(-1.0, -1.0 + 0.25 * r.randint(1, 12), step=0.25),
    "int": lambda r: IntDistribution(r.randint(-5, 1), r.randint(2, 40)),
    "wide": lambda r: IntDistribution(0, 10 ** r.randint(3, 6)),
    "int step": lambda r: IntDistribution(0, 3 * r.randint(1, 10), step=3),
    "log int": lambda r: IntDistribution(1, r.choice((2, 10, 1000)), log=True),
    "choice": lambda r: CategoricalDistribution(r.choice((["a", "b"], [None, True, 3, 0.5], list("abcdefg")))),
    "single": lambda r: r.choice((FloatDistribution(1.0, 1.0), IntDistribution(3, 3), CategoricalDistribution(["x"]))),
}


class Reference(optuna.samplers.TPESampler):
    """Optuna's sampler, which also records its candidates and their acquisition values."""

    seen = None

    def _compute_acquisition_func(self, samples, below, above):
        values = super()._compute_acquisition_func(samples, below, above)
        self.seen.append((samples, values))
        return values


def both(seed, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Reference(seed=seed, **options)
    theirs.seen = []
    return theirs, TPESampler(seed=seed, parallel="none", **options)


def close(one, other, distribution):
    if not isinstance(distribution, FloatDistribution):
        return type(one) is type(other) and one == other
    return type(one) is type(other) and math.isclose(
        one, other, rel_tol=1e-6, abs_tol=1e-9 * (distribution.high - distribution.low)
    )


def tie(reference, name, value):
    """Whether Optuna scored a candidate with this value as high as the one it chose, up to the last digits."""
    for samples, scores in reference.seen:
        if name in samples:
            best = np.max(scores)
            for index in np.flatnonzero(scores >= best - 1e-9 * max(1.0, abs(best))):
                if close(float(samples[name][index]), float(value), FloatDistribution(0.0, 1.0)):
                    return True
    return False


class Space:
    """A random space; some parameters are only active for one value of a choice."""

    def __init__(self, r, kinds=None, conditional=False, most=6):
        names = [r.choice(kinds or list(KINDS)) for _ in range(r.randint(1, most))]
        self.parameters = {f"p{i}": KINDS[kind](r) for i, kind in enumerate(names)}
        self.when = {}
        if conditional:
            self.parameters = {"c": CategoricalDistribution(["u", "v", "w"]), **self.parameters}
            self.when = {name: r.choice("uvw") for name in self.parameters if name != "c" and r.random() < 0.6}

    def walk(self, suggest):
        chosen = None
        for name, distribution in self.parameters.items():
            if self.when.get(name) in (None, chosen):
                value = suggest(name, distribution)
                chosen = value if name == "c" else chosen


def draw(r, d):
    if isinstance(d, CategoricalDistribution):
        return r.choice(d.choices)
    if isinstance(d, IntDistribution):
        return r.randrange(d.low, d.high + 1, d.step)
    if d.step:
        return d.low + r.randrange(round((d.high - d.low) / d.step) + 1) * d.step
    return math.exp(r.uniform(math.log(d.low), math.log(d.high))) if d.log else r.uniform(d.low, d.high)


def trial_of(
    r, space, number, directions, *, running=0.0, pruned=0.0, infeasible=0.0, failed=0.05, special=0.0, grid=0.0
):
    """A random trial. The keywords are the probabilities that it is running, pruned, infeasible ..."""
    params, distributions, attrs = {}, {}, {}

    def suggest(name, distribution):
        distributions[name] = distribution
        params[name] = draw(r, distribution)
        return params[name]

    space.walk(suggest)
    dice = r.random()
    state, values, reports = TrialState.COMPLETE, None, {}
    if dice < running:
        state = TrialState.RUNNING
        kept = [name for name in params if r.random() < 0.5]
        if r.random() < 0.7:  # values were suggested that the objective has not asked for yet
            import json

            attrs["tpe:relative_params:0"] = json.dumps(
                {n: v for n, v in params.items() if not distributions[n].single()}
            )
            params, distributions = {n: params[n] for n in kept}, {n: distributions[n] for n in kept}
    elif dice < running + pruned and len(directions) == 1:
        state = TrialState.PRUNED
        reports = {s: r.choice((math.nan, r.random(), r.random(), math.inf)) for s in range(r.randint(0, 4))}
    elif dice < running + pruned + failed:
        state = TrialState.FAIL
    else:
        values = [float(r.randint(0, 5)) if r.random() < grid else r.gauss(0, 1) for _ in directions]
        if r.random() < special:
            values[0] = r.choice((math.inf, -math.inf))
    if state != TrialState.RUNNING and r.random() < infeasible:
        attrs["constraints:a"] = r.choice((-1.0, 0.0, 0.5, r.random()))
        attrs["constraints:b"] = r.uniform(-1, 1)
    return optuna.trial.create_trial(
        state=state,
        values=values,
        params=params,
        distributions=distributions,
        system_attrs=attrs,
        intermediate_values=reports,
    )


def study_of(r, space, count, directions=("minimize",), storage=None, **shares):
    study = optuna.create_study(directions=list(directions), storage=storage)
    for number in range(count):
        study.add_trial(trial_of(r, space, number, directions, **shares))
    return study


def asked(study, sampler, space, also=None):
    """Ask the sampler for a new trial. Returns the trial, which stays running, and the values suggested."""
    study.sampler = sampler
    trial = study.ask()
    found = {}

    def suggest(name, d):
        if isinstance(d, CategoricalDistribution):
            found[name] = trial.suggest_categorical(name, d.choices)
        elif isinstance(d, IntDistribution):
            found[name] = trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        else:
            found[name] = trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
        return found[name]

    space.walk(suggest)
    return trial, found


def compare(make_study, space, seed, asks=2, **options):
    """Ask both samplers repeatedly on equal studies. Returns the first difference beyond rounding, "tie", or None."""
    theirs, ours = both(seed, **options)
    studies = make_study(), make_study()
    for _ in range(asks):
        theirs.seen.clear()
        _, wanted = asked(studies[0], theirs, space)
        _, found = asked(studies[1], ours, space)
        for name in sorted(wanted.keys() | found.keys()):
            if name in wanted and name in found and close(wanted[name], found[name], space.parameters[name]):
                continue
            if name in found and tied(theirs, space.parameters[name], name, found[name]):
                return "tie"
            return f"{name}: {wanted.get(name)!r} != {found.get(name)!r}"
    return None


def tied(reference, distribution, name, value):
    return tie(reference, name, distribution.to_internal_repr(value))


def seeded(seed):
    return random.Random(seed)
