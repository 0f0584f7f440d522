"""Every mistake in a search space is one sentence with file, line and key."""

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile import load_study_file

HEAD = "name: s\ncommand: run\ndirection: minimize\nbudget: {trials: 5}\nspace:\n"

MISTAKES = [
    ("x: {float: [1, 0]}", "space.x.float: low 1.0 is above high 0.0; write [0.0, 1.0]"),
    ("x: {int: [5, 2]}", "space.x.int: low 5 is above high 2; write [2, 5]"),
    ("x: {float: [0, 1], log: true}", "space.x.float: low must be above 0 on a log scale, but is 0.0"),
    ("x: {float: [0, 1], log: maybe}", "space.x.log: must be true or false, but is 'maybe'"),
    ("x: {float: [0, 1], step: 0}", "space.x.step: must be above 0, but is 0.0"),
    ("x: {int: [0, 9], step: -3}", "space.x.step: must be above 0, but is -3"),
    ("x: {float: [1, 2], log: true, step: 0.5}", "space.x.step: a log scale cannot have a step; leave one of them out"),
    ("x: {int: [16, 250], step: 16}",
     "space.x.step: steps of 16 from 16 do not reach 250; the last one is 240, so write [16, 240]"),
    ("x: {float: [0, 1], step: 0.3}",
     "space.x.step: steps of 0.3 from 0.0 do not reach 1.0; the last one is 0.9, so write [0.0, 0.9]"),
    ("x: {float: [0]}", "space.x.float: must be [low, high], but is [0]"),
    ("x: {float: 3}", "space.x.float: must be [low, high], but is 3"),
    ("x: {float: [a, 1]}", "space.x.float[0]: must be a number, but is 'a'"),
    ("x: {float: [0, .inf]}", "space.x.float[1]: must be a number, but is inf"),
    ("x: {int: [1, 2.5]}", "space.x.int[1]: must be a whole number, but is 2.5"),
    ("x: {int: [true, 2]}", "space.x.int[0]: must be a whole number, but is true"),
    ("x: {choice: []}", "space.x.choice: is empty; list the values to choose from, as in [sgd, adamw]"),
    ("x: {choice: sgd}", "space.x.choice: must be a list of values, as in [sgd, adamw], but is 'sgd'"),
    ("x: {choice: [a, b, a]}", "space.x.choice[2]: 'a' is listed twice"),
    ("x: {choice: [1, true]}", "space.x.choice[1]: true is listed twice (1 and true are equal)"),
    ("x: {choice: [[1, 2], a, [1, 2]]}", "space.x.choice[2]: [1, 2] is listed twice"),
    ("x: {choice: [[1, 2], '[1, 2]']}",
     "space.x.choice[1]: '[1, 2]' is listed twice ([1, 2] and '[1, 2]' are equal)"),
    ("x: {choice: [{a: [.nan]}]}", "space.x.choice[0]: a choice must be finite, but is {a: [nan]}"),
    ("x: {int: [0, 1], when: {y: [1, 2]}}\n  y: {choice: [[1, 2], [3]]}",
     "space.x.when.y: 'y' cannot be 1; it is choice [[1, 2], [3]]; for this list write [[1, 2]]"),
    ("x: {int: [0, 1], when: {y: true}}\n  y: {choice: [1, 2]}",
     "space.x.when.y: 'y' cannot be true; it is choice [1, 2]"),
    ("x: {int: [0, 1], when: {y: 2}}\n  y: 1", "space.x.when.y: 'y' is the constant 1, so 'x' would never be active"),
    ("x: {int: [0, 1], when: {y: true}}\n  y: 1",
     "space.x.when.y: 'y' is the constant 1, so 'x' would never be active"),
    ("x: {int: [0, 1], when: {y: [1, a]}}\n  y: {constant: [1, a]}",
     "space.x.when.y: 'y' is the constant [1, a], so 'x' would never be active; for this list write [[1, a]]"),
    ("x: {choice: [[1], [true]]}", "space.x.choice[1]: [true] is listed twice ([1] and [true] are equal)"),
    ("x: {choice: [{a: 1, b: 2}, {b: 2, a: 1.0}]}",
     "space.x.choice[1]: {b: 2, a: 1.0} is listed twice ({a: 1, b: 2} and {b: 2, a: 1.0} are equal)"),
    ("x: {int: [0, 3], step: 5}",
     "space.x.step: a step of 5 is larger than the range from 0 to 3; give a smaller one, or a choice of the values "
     "that you mean"),
    ("x: {float: [0, 1], step: 1.5}",
     "space.x.step: a step of 1.5 is larger than the range from 0.0 to 1.0; give a smaller one, or a choice of the "
     "values that you mean"),
    ("x: {int: [-9007199254740992, 9007199254740992], step: 2}",
     "space.x.int: a range with a step is at most 9007199254740992 wide, but this one is 18014398509481984"),
    ("x: {float: [0, 1], step: .inf}", "space.x.step: must be a number, but is inf"),
    ("x: {float: [0, 1], step: 1.0e-9}",
     "space.x.step: a step of 1e-09 is too small for the range from 0.0 to 1.0; leave the step out"),
    ("x: {float: [-1.0e+308, 1.0e+308]}",
     "space.x.float: the range from -1e+308 to 1e+308 is too large for 64-bit numbers"),
    ("x: {int: [0, 9007199254740994]}",
     "space.x.int: whole numbers are exact only up to 9007199254740992; use a float, or make the exponent the "
     "parameter"),
    ("x: {choice: [a, b], log: true}", "space.x.log: a choice has no log"),
    ("x: {flaot: [0, 1]}", "space.x.flaot: unknown key; did you mean 'float'?; a parameter needs one of "
     "float: [low, high], int: [low, high] or choice: [...]"),
    ("x: {log: true}", "space.x: needs one of float: [low, high], int: [low, high] or choice: [...]"),
    ("x: {float: [0, 1], int: [0, 1]}", "space.x.int: has both float and int; give one of them"),
    ("x: {float: [0, 1], stpe: 0.5}", "space.x.stpe: unknown key; did you mean 'step'?"),
    ("x:", "space.x: is empty; give a range, as in {float: [0, 1]}, or a constant value"),
    ("9x: {int: [0, 1]}", "space.9x: a parameter's name is 1 to 128 letters, digits, '_', '.', '-' or '/', "
     "beginning with a letter or '_'"),
    ("x: 1", "space: has no parameter to tune; write one, as in lr: {float: [0.001, 0.1], log: true}"),
    ("x: {int: [0, 1], when: {x2: 1}}\n  x1: {int: [0, 1]}",
     "space.x.when.x2: there is no parameter 'x2'; did you mean 'x1'?"),
    ("x: {int: [0, 1], when: y}",
     "space.x.when: must give values of other parameters, as in {optimizer: sgd}, but is 'y'"),
    ("x: {int: [0, 1], when: {y: c}}\n  y: {choice: [a, b]}", "space.x.when.y: 'y' cannot be 'c'; it is choice [a, b]"),
    ("x: {int: [0, 1], when: {y: [1, 9]}}\n  y: {int: [1, 4]}", "space.x.when.y: 'y' cannot be 9; it is int [1, 4]"),
    ("x: {int: [0, 1], when: {y: []}}\n  y: {int: [1, 4]}",
     "space.x.when.y: lists no value of 'y', so 'x' would never be active"),
    ("x: {int: [0, 1], when: {y: 0.5}}\n  y: {float: [0, 1]}",
     "space.x.when.y: 'y' is continuous and never has exactly this value; make it a choice or give it a step"),
    ("x: {int: [0, 1], when: {y: 1}}\n  y: {int: [0, 1], when: {x: 1}}",
     "space.x.when: the conditions form a cycle: x -> y -> x"),
]  # fmt: skip

FOREIGN = [
    ("x: {type: float, low: 1e-5, high: 0.1, log: true}", "{float: [1e-05, 0.1], log: true}"),
    ("x: {type: int, low: 1, high: 10, step: 3}", "{int: [1, 10], step: 3}"),
    ("x: {type: categorical, choices: [sgd, adam]}", "{choice: [sgd, adam]}"),
    ("x: {uniform: [0, 1]}", "{float: [0, 1]}"),
    ("x: {loguniform: [0.001, 0.1]}", "{float: [0.001, 0.1], log: true}"),
    ("x: {log_uniform: {min: 0.001, max: 0.1}}", "{float: [0.001, 0.1], log: true}"),
    ("x: {distribution: log_uniform_values, min: 0.001, max: 0.1}", "{float: [0.001, 0.1], log: true}"),
    ("x: {_type: quniform, _value: [0, 10, 2]}", "{float: [0, 10], step: 2}"),
    ("x: {randint: [1, 5]}", "{int: [1, 5]}"),
    ("x: {categorical: [a, null, 3]}", "{choice: [a, null, 3]}"),
    ("x: {values: [1, 2]}", "{choice: [1, 2]}"),
    ("x: {min: 1, max: 8}", "{int: [1, 8]}"),
    ("x: {low: 0.1, high: 1}", "{float: [0.1, 1]}"),
    ("x: {type: uniform_float, lower: 0, upper: 1}", "{float: [0, 1]}"),
    ("x: {name: x, type: range, bounds: [0.0, 1.0]}", "{float: [0.0, 1.0]}"),
    ("x: {prior: log-uniform, low: 0.001, high: 1.0}", "{float: [0.001, 1.0], log: true}"),
    ("x: {type: bool}", "{choice: [true, false]}"),
    ("x: {value: [1, 2]}", "{constant: [1, 2]}"),
]
"""Parameters as other tools write them, and what a study file writes."""

PLAIN = [
    ("[2, 4, 8]", "a list is not a parameter; for a choice write {choice: [2, 4, 8]}, for a constant list "
     "{constant: [2, 4, 8]}"),
    ("[1, 10]", "a list is not a parameter; for a choice write {choice: [1, 10]}, for a range {int: [1, 10]}, "
     "for a constant list {constant: [1, 10]}"),
    ("[a, b]", "a list is not a parameter; for a choice write {choice: [a, b]}, for a constant list "
     "{constant: [a, b]}"),
    ("[[1, 2], 3]", "a list is not a parameter; for a constant list write {constant: [[1, 2], 3]}"),
    ("[]", "a list is not a parameter; for a constant list write {constant: []}"),
    ("2, 4, 8", "the text '2, 4, 8' is not a parameter; for a choice write {choice: [2, 4, 8]}, for this text as a "
     'constant {constant: "2, 4, 8"}'),
    ("0.1..0.5", "the text '0.1..0.5' is not a parameter; for a range write {float: [0.1, 0.5]}, for this text as a "
     'constant {constant: "0.1..0.5"}'),
    ("2-8", "the text '2-8' is not a parameter; for a range write {int: [2, 8]}, for this text as a constant "
     '{constant: "2-8"}'),
    ("loguniform(0.001, 0.1)", "the text 'loguniform(0.001, 0.1)' is not a parameter; for a range write "
     '{float: [0.001, 0.1], log: true}, for this text as a constant {constant: "loguniform(0.001, 0.1)"}'),
    ("choice(a, b)", "the text 'choice(a, b)' is not a parameter; for a choice write {choice: [a, b]}, for this text "
     'as a constant {constant: "choice(a, b)"}'),
]  # fmt: skip
"""Plain values that are no constants, and what is said."""


@pytest.mark.parametrize(("line", "form"), FOREIGN)
def test_a_parameter_in_another_tools_form_is_answered_with_the_right_form(tmp_path, line, form):
    assert message(tmp_path, HEAD + "  ok: {int: [0, 9]}\n  " + line) == f"study.yaml:7: space.x: write it as {form}"
    path = tmp_path / "study.yaml"
    path.write_text(f"{HEAD}  ok: {{int: [0, 9]}}\n  x: {form}\n")
    assert "x" in load_study_file(path).space.names, "the advice is right"


@pytest.mark.parametrize(("value", "said"), PLAIN)
def test_a_list_or_a_text_that_looks_like_a_range_is_no_constant(tmp_path, value, said):
    assert message(tmp_path, HEAD + "  ok: {int: [0, 9]}\n  x: " + value) == f"study.yaml:7: space.x: {said}"


@pytest.mark.parametrize(
    ("bounds", "form"),
    [
        ("float: {low: 0, high: 1}", "{float: [0, 1]}"),
        ("float: [0, 1, 0.1]", "{float: [0, 1], step: 0.1}"),
        ("int: {min: 1, max: 4}", "{int: [1, 4]}"),
    ],
)
def test_bounds_in_another_form_are_answered_with_the_right_form(tmp_path, bounds, form):
    assert message(tmp_path, HEAD + f"  x: {{{bounds}}}").endswith(f"; write {form}")


def test_an_explicit_constant_may_be_a_list_or_look_like_a_range(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        f'{HEAD}  ok: {{int: [0, 9]}}\n  x: {{constant: [64, [32]]}}\n  y: {{constant: "2-8"}}\n  z: gpu-0\n'
    )
    assert load_study_file(path).space.constants == {"x": [64, [32]], "y": "2-8", "z": "gpu-0"}
    for wrong, said in (
        ("{constant: 1, int: [0, 1]}", "space.x.int: has both constant and int; give one of them"),
        ("{constant: 1, when: {ok: 1}}", "space.x.when: a constant has no when"),
        ("{constant: {a: 1}}", "space.x.constant: a constant is a plain value or a list of them, not a mapping"),
        ("{constant: }", "space.x.constant: is empty; give the value, as in {constant: [64, 32]}"),
    ):
        assert message(tmp_path, HEAD + f"  ok: {{int: [0, 9]}}\n  x: {wrong}") == f"study.yaml:7: {said}"


def message(folder, text):
    path = folder / "study.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_study_file(path)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(("entry", "expected"), MISTAKES, ids=[entry for entry, _ in MISTAKES])
def test_a_mistake_in_the_space_is_one_sentence_with_file_line_and_key(tmp_path, entry, expected):
    line = 5 if expected.startswith("space: ") else 6
    assert message(tmp_path, HEAD + f"  {entry}\n") == f"study.yaml:{line}: {expected}"


CONSTRAINTS = [
    ("x + ", "'x + ' is not an expression: invalid syntax"),
    ("x = 1", "'x = 1' is not an expression: invalid syntax; "
     "equality is written =="),
    ("x * y", "'x * y' is not a comparison; write one, as in layers * units <= 512"),
    ("x < z", "'x < z' uses 'z', which is not in the space; known are x, y, n"),
    ("x.real < 1", "'x.real < 1' may not hold 'x.real'; only names, numbers, text, arithmetic, comparisons, "
     "and, or, not, in"),
    ("__import__('os') == 1", "'__import__('os') == 1' may not call '__import__'; only min, max, abs, round, len, log, "
     "log2, log10, exp, sqrt"),
    ("x < 'a'", "'x < 'a'' cannot be evaluated: `<` compares a number with text"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CONSTRAINTS, ids=[text for text, _ in CONSTRAINTS])
def test_a_mistake_in_a_constraint_names_it(tmp_path, text, expected):
    body = f'  x: {{int: [0, 3]}}\n  y: {{int: [0, 3]}}\n  n: 5\nconstraints:\n  - "{text}"\n'
    assert message(tmp_path, HEAD + body) == f"study.yaml:10: constraints[0]: {expected}"


UNUSABLE = [
    ("max", "max <= 3", "'max' is a word of the expression language; rename the parameter to use it in one"),
    ("true", "n in [true]", "'true' is a word of the expression language; rename the parameter to use it in one"),
    ("lambda", "lambda > 3", "'lambda' is a word of the expression language; rename the parameter to use it in one"),
    ("in", "in > 3", "'in' is a word of the expression language; rename the parameter to use it in one"),
    ("lr-x", "lr-x <= 3", "names with '-' cannot be used in an expression; rename it lr_x"),
    ("a.b/c", "n > a.b/c", "names with '.' and '/' cannot be used in an expression; rename it a_b_c"),
]


@pytest.mark.parametrize(("name", "text", "why"), UNUSABLE)
def test_a_name_that_expressions_cannot_have_is_refused_where_one_uses_it(tmp_path, name, text, why):
    body = f"  {name}: {{int: [0, 3]}}\n  n: 1\n  lr: 2\n  x: 1\nconstraints: ['{text}']\n"
    said = f"'{text}' uses the parameter '{name}', but {why}"
    assert message(tmp_path, HEAD + body) == f"study.yaml:10: constraints[0]: {said}"


def test_names_of_the_language_are_the_language_s(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        f"{HEAD}  max: {{int: [0, 9]}}\n  _pow: {{int: [0, 9]}}\n  a-b: 1\n  n: {{choice: [max, a-b]}}\n"
        "constraints: [\"max(_pow, 2) ** 2 < 9\", \"n in ('max', 'a-b')\"]\n"
    )
    space = load_study_file(path).space
    assert [space.feasible({"max": 9, "_pow": each, "n": "max"}) for each in (2, 3)] == [True, False]


def test_a_constraint_with_the_text_of_a_list_is_refused(tmp_path):
    body = "  k: {choice: [[2, 2], [3]]}\nconstraints: [\"k != '[2, 2]'\"]\n"
    assert message(tmp_path, HEAD + body) == (
        "study.yaml:7: constraints[0]: 'k != '[2, 2]'' has the text '[2, 2]', which 'k' never is; "
        "write it without quotes"
    )


def test_constraints_that_nothing_satisfies_are_refused(tmp_path):
    body = '  x: {int: [0, 3]}\nconstraints: ["x > 5"]\n'
    assert message(tmp_path, HEAD + body) == (
        "study.yaml:7: constraints: none of 5,000 random configurations meets 'x > 5'; "
        "relax the constraints or widen the space"
    )


def test_a_point_that_breaks_a_constraint_is_refused(tmp_path):
    body = '  x: {int: [0, 3]}\nconstraints: ["x > 1"]\nstart_from: {enqueue: [{x: 0}]}\n'
    assert message(tmp_path, HEAD + body) == (
        "study.yaml:8: start_from.enqueue[0]: the point does not meet the constraint 'x > 1'"
    )
