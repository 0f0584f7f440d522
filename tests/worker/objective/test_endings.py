"""How an exception is told: its type and traceback, whatever its class does, and what its author cannot know."""

from __future__ import annotations

import subprocess
import textwrap
import threading

import pytest

from pilotune.pipeline.trial.exceptions import ObjectiveError, TrialPruned, TrialYield
from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.objective.ending import ending_of
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import make_spec


def bad(name, base=Exception, **methods):
    return type(name, (base,), methods)


def raises(*_):
    raise RuntimeError("no")


def loop():
    first, second = ValueError("one"), ValueError("two")
    first.__cause__, second.__cause__ = second, first
    return first


def long_chain():
    error = ValueError("the last")
    for number in range(3000):
        error, inner = ValueError(str(number)), error
        error.__cause__ = inner
    return error


def with_lock():
    error = ValueError("held")
    error.lock, error.args = threading.Lock(), (threading.Lock(),)
    return error


ERRORS = {
    "str raises": (bad("BadStr", __str__=raises)(), "BadStr: its message cannot be shown, since its __str__ raises"),
    "str raises a memory error": (bad("BadStr", MemoryError, __str__=raises)(), "BadStr: its message cannot be shown"),
    "str exits": (bad("Exits", __str__=lambda self: exit(3))(), "Exits"),
    "str is no text": (bad("NoText", __str__=lambda self: 5)(), "NoText: its message cannot be shown"),
    "str is endless": (bad("Deep", __str__=lambda self: str(self))(), "Deep: its message cannot be shown"),
    "repr raises": (bad("BadRepr", __repr__=raises)("words"), "BadRepr: words"),
    "argument's repr raises": (
        ValueError(bad("Inner", __repr__=raises)(), 1),
        "ValueError: its message cannot be shown",
    ),
    "notes raise": (bad("Notes", __notes__=property(raises))("words"), "Notes: words"),
    "attributes raise": (bad("Odd", __getattribute__=raises)("words"), "Odd"),
    "cause loops": (loop(), "ValueError: one"),
    "long chain": (long_chain(), "ValueError: 2999"),
    "cannot be pickled": (with_lock(), "ValueError: <unlocked"),
    "group": (ExceptionGroup("both", [ValueError("a"), loop()]), "ExceptionGroup: both (2 sub-exceptions)"),
    "base exception": (bad("Mine", BaseException)("stop"), "Mine: stop"),
    "generator exit": (GeneratorExit(), "GeneratorExit"),
    "keyboard interrupt": (KeyboardInterrupt(), "KeyboardInterrupt"),
    "key error": (KeyError("lr"), "KeyError: 'lr'"),
    "no words": (ValueError(), "ValueError"),
    "many lines": (ValueError("one\ntwo"), "ValueError: one"),
    "very long": (ValueError("x" * 10**6), "ValueError: xxx"),
    "surrogates": (ValueError("\ud800\0"), "ValueError: \ud800\0"),
    "syntax error": (SyntaxError("odd", (5, None, "x", object())), "SyntaxError: odd"),
}


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize("name", ERRORS)
def test_the_type_and_the_traceback_of_any_exception_are_kept(name):
    error, reason = ERRORS[name]
    ending = ending_of(raised(error), yielding=False)
    assert (ending.kind, ending.failure) == (
        "failed",
        "memory" if issubclass(type(error), MemoryError) else "exception",
    )
    assert ending.reason.startswith(reason)
    assert "raise error" in ending.traceback
    assert type(error).__name__ in ending.traceback
    assert len(ending.traceback) < 30_000


def test_exits_and_prunings_with_odd_words_stay_what_they_are():
    assert ending_of(SystemExit(bad("Code", object, __repr__=raises)()), yielding=False).failure == "exit"
    assert ending_of(SystemExit(), yielding=False).reason == "the objective called sys.exit()"
    pruned = bad("Mine", TrialPruned, __str__=raises)()
    assert (ending_of(pruned, yielding=False).kind, ending_of(pruned, yielding=True).kind) == ("pruned", "yielded")


def test_a_text_of_a_class_of_its_own_becomes_plain():
    words = type("Words", (str,), {})("stop here")
    for base in (TrialPruned, TrialYield, ObjectiveError, SystemExit, ValueError):
        ending = ending_of(bad("Mine", base, __str__=lambda self: words)(), yielding=False)
        assert (type(ending.reason), type(ending.traceback)) == (str, str)


OBJECTIVE = """
    class Bad(Exception):
        def __str__(self):
            raise RuntimeError("no")

    def objective(trial):
        raise Bad()

    def relative(trial):
        return open("data/train.csv")
"""


@pytest.mark.parametrize("isolate", [True, False])
def test_an_exception_whose_text_cannot_be_made_is_no_crash(tmp_path, isolate):
    (tmp_path / "objective.py").write_text(textwrap.dedent(OBJECTIVE))
    objective = ObjectiveSpec(file=str(tmp_path / "objective.py"), function="objective")
    outcome = run_attempt(make_spec(tmp_path, objective, isolate=isolate))
    assert (outcome["kind"], outcome["failure"]) == ("failed", "exception")
    assert outcome["reason"] == "Bad: its message cannot be shown, since its __str__ raises RuntimeError"
    assert "raise Bad()" in outcome["traceback"]


# -- what the author cannot know --------------------------------------------------------------------------------------

OWN = "; each trial has a working directory of its own"


def reason(error, objective):
    return ending_of(error, yielding=False, objective=objective).reason


@pytest.mark.parametrize("isolate", [True, False])
def test_a_relative_path_that_is_missing_is_told_where_to_look(tmp_path, isolate):
    (tmp_path / "objective.py").write_text(textwrap.dedent(OBJECTIVE))
    objective = ObjectiveSpec(file=str(tmp_path / "objective.py"), function="relative", folder=str(tmp_path))
    spec = make_spec(tmp_path, objective, isolate=isolate)
    place = "os.environ['PILOTUNE_STUDY_DIR'], the study file's folder"
    missing = "FileNotFoundError: [Errno 2] No such file or directory: 'data/train.csv'"
    assert run_attempt(spec)["reason"] == (f"{missing}{OWN}, so use an absolute path, or one that begins with {place}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").touch()
    spec = make_spec(tmp_path, objective, isolate=isolate, number=8)
    assert run_attempt(spec)["reason"] == f"{missing}{OWN}: the file is in {place}, so begin its path with that"


def program():
    try:
        subprocess.run(["no-such-program"], check=False)
    except FileNotFoundError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (FileNotFoundError(2, "No such file", "data.csv"), True),
        (FileNotFoundError(2, "No such file", b"data.csv"), True),
        (FileNotFoundError("cannot open 'data.csv'"), True),
        (FileNotFoundError(2, "No such file", "/data.csv"), False),
        (FileNotFoundError(2, "No such file", "s3://data.csv"), False),
        (FileNotFoundError(2, "No such file", 7), False),
        (FileNotFoundError("nothing"), False),
        (bad("Mine", FileNotFoundError, __str__=raises)(), False),
        (program(), False),
        (PermissionError(13, "no", "data.csv"), False),
    ],
)
def test_only_relative_paths_get_the_hint(error, hint):
    assert (OWN in reason(error, ObjectiveSpec(folder="/study"))) == hint


def test_a_program_beside_the_study_file_is_told_where_it_is(tmp_path):
    own = "; each trial has a working directory of its own, so write {study_dir}/"
    missing = "the command cannot be started: {}: No such file or directory"
    (tmp_path / "solve.sh").touch()
    for number, (program, hint) in enumerate(
        [
            ("./go.sh", "go.sh"),
            ("bin/go", "bin/go"),
            ("solve.sh", "solve.sh"),
            ("no-such-program", ""),
            ("/no/such", ""),
        ]
    ):
        objective = ObjectiveSpec(command=[program], folder=str(tmp_path))
        outcome = run_attempt(make_spec(tmp_path, objective, number=number))
        assert outcome["reason"] == missing.format(program) + (own + hint if hint else "")


def test_a_relative_import_is_told_the_module_s_name(tmp_path):
    package = tmp_path / "study" / "nets"
    package.mkdir(parents=True)
    (package / "train.py").write_text("from . import layers\n\ndef objective(trial):\n    return 1.0\n")
    (package / "layers.py").touch()
    folder = str(tmp_path / "study")
    spec = ObjectiveSpec(file=str(package / "train.py"), function="objective", folder=folder)
    words = (
        "the objective cannot be imported: ImportError: attempted relative import with no known parent package; "
        "name the objective as package.module:"
    )
    here = "function, here nets.train:objective"
    assert run_attempt(make_spec(tmp_path, spec))["reason"] == words + here
    (package / "__init__.py").touch()
    assert run_attempt(make_spec(tmp_path, spec, number=8))["reason"] == words + here
    inside = ObjectiveSpec(file=str(package / "train.py"), function="objective", folder=str(package))
    outcome = run_attempt(make_spec(tmp_path, inside, number=9))
    assert outcome["reason"] == f"{words}{here}, with {folder} on PYTHONPATH"
    right = ObjectiveSpec(module="nets.train", function="objective", folder=folder)
    assert run_attempt(make_spec(tmp_path, right, number=10))["values"] == [1.0]


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (ObjectiveSpec(module="train", function="f"), "from the top of the package"),
        (ObjectiveSpec(file="/nowhere/train.py", function="f", folder="/nowhere"), "is part of a package: name it as"),
    ],
)
def test_a_relative_import_elsewhere_is_told_the_form(objective, words):
    assert words in reason(ImportError("attempted relative import beyond top-level package"), objective)
    assert reason(ImportError("cannot import name 'x'"), objective) == "ImportError: cannot import name 'x'"
