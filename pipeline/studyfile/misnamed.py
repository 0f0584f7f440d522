"""Says what to write instead of a key that a study file does not have: other tools call the same things differently."""

from __future__ import annotations

from collections.abc import Mapping

from ...fields import Section, section_fields
from ...yamlfile import YamlFile
from .keep import KeepOptions
from .schema import Budget, Command, StartFrom, StudySchema, TrialOptions

INSTEAD: Mapping[str, tuple[str, ...]] = {
    "`budget: {trials: N}`": ("n_trials", "max_trials", "num_trials", "num_samples", "max_evals", "max_trial_number",
                              "run_cap", "iterations", "n_iter"),
    "`budget: {time: 4h}`": ("max_time", "time_budget", "max_duration", "max_experiment_duration", "time_limit",
                             "time_budget_s"),
    "`budget: {patience: N}`": ("early_stopping", "early_terminate"),
    "`trial: {repeats: N}`": ("repetitions", "n_repeats", "num_repeats", "n_seeds", "seeds", "replicates"),
    "`trial: {keep: {artifacts: N}}`": ("keep_artifacts", "keep_best", "save_best", "models", "keep_models"),
    "`trial: {timeout: 30m}`": ("trial_timeout", "max_trial_duration"),
    "`name:`": ("study", "study_name", "experiment", "experiment_name", "title"),
    "`space:`": ("params", "parameters", "search_space", "searchspace", "hyperparameters", "config", "param_space",
                 "priors"),
    "`objective: file.py:function`": ("function", "script", "entrypoint", "train", "target_function", "module"),
    "`command:`": ("program", "executable", "cmd", "run", "trial_command"),
    "`direction: minimize` or `maximize`": ("mode", "goal", "optimize_mode", "minimize", "maximize", "optimization"),
    "`directions: [minimize, maximize]`": ("objectives", "goals", "modes"),
    "`metrics: [NAME]`": ("metric", "metric_name", "metric_names"),
    "`sampler:`": ("algorithm", "algo", "method", "tuner", "strategy", "optimizer", "search_alg", "search_algorithm"),
    "`pruner:`": ("scheduler", "early_stopper", "assessor"),
    "`loggers: [tensorboard]`": ("logger", "logging", "tracking", "trackers", "tensorboard", "mlflow", "wandb"),
    "`storage:`": ("database", "db", "db_url", "storage_url"),
    "`start_from: {enqueue: [...]}`": ("initial", "points_to_evaluate", "init_points", "warm_start", "enqueue_trials"),
    "`sampler: {seed: N}`": ("random_seed", "rng_seed"),
    "`workers_per_node` of a pool in the site file": ("n_jobs", "workers", "max_workers", "concurrency", "parallel",
                                                      "trial_concurrency", "max_concurrent_trials", "n_workers"),
    "`--site` on the command line": ("site", "cluster", "machine", "backend"),
}  # fmt: skip
"""What is right -> what else it is called, in lower case with underscores."""

KEYS_OF: Mapping[str, type[Section]] = {
    "at the top of the file": StudySchema,
    "in `trial`": TrialOptions,
    "in `trial.keep`": KeepOptions,
    "in `budget`": Budget,
    "in `command`": Command,
    "in `start_from`": StartFrom,
}

IN_SITE_FILES = (
    "queue",
    "walltime",
    "account",
    "modules",
    "nodes_per_block",
    "cores_per_node",
    "gpus_per_node",
    "pools",
)


def what_instead(loc: tuple[str | int, ...], source: YamlFile) -> str:
    """The end of a sentence that says where to write what an unknown key means; empty where that is not known.

    Args:
        loc: The path of the unknown key, as ``("trial", "n_trials")``.
        source: The study file.
    """
    word = str(loc[-1])
    plain = word.lower().strip("-").replace("-", "_")
    here = section_fields(StudySchema, loc[:-1])
    if plain == "seed":
        return "; write `sampler: {seed: N}`"
    for place, model in KEYS_OF.items():
        if plain in model.model_fields and plain not in here:
            return f"; `{plain}` stands {place}"
    for right, names in INSTEAD.items():
        if plain in names:
            return f"; write {right}"
    if plain in IN_SITE_FILES or (plain == "partition"):
        return f"; `{word}` is of the site file, which `--site` names"
    return ""
