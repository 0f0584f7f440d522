"""Ranges with steps of any digits, choices that are lists, and points to try: what runs is what the file says."""

from __future__ import annotations

import json
import math
import random
import re
import warnings

import pytest
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import create_trial

from pilotune.errors import UserError
from pilotune.pipeline.analysis.best import best_params
from pilotune.pipeline.analysis.reading import StudyData
from pilotune.pipeline.attributes import DEFINITION
from pilotune.pipeline.distributions import cardinality
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.suggest import grid_values

HEAD = "name: s\ncommand: run\ndirection: minimize\nbudget: {trials: 5}\n"


def load(folder, text):
    path = folder / "study.yaml"
    path.write_text(HEAD + text)
    return load_study_file(path)


def stepped(folder, low, high, step):
    space = load(folder, f"space: {{x: {{float: [{low!r}, {high!r}], step: {step!r}}}}}\n").space
    return space.distributions["x"]


def test_a_range_whose_digits_no_steps_reach_exactly_is_taken_as_it_is(tmp_path):
    found = stepped(tmp_path, 0.022943223880069138, 0.45794322388006914, 0.001)
    assert (found.low, found.high, cardinality(found)) == (0.022943223880069138, 0.45794322388006914, 436)


@pytest.mark.parametrize("seed", range(40))
def test_a_range_with_steps_is_accepted_or_its_advice_is(tmp_path, seed):
    draw = random.Random(seed)
    size = 10 ** draw.uniform(-9, 9)
    low = draw.choice([0.0, draw.uniform(-size, size), float(f"{size:.2g}")])
    step = draw.choice([size * draw.uniform(0.001, 1), float(f"{size:.1g}"), size / 3])
    high = low + draw.randint(1, 500) * step + draw.choice([0.0, 0.3 * step])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = stepped(tmp_path, low, high, step)
        except UserError as error:
            (advice,) = re.findall(r"so write \[(\S+), (\S+)\]", str(error))
            found = stepped(tmp_path, *map(float, advice), step)
        again = json_to_distribution(distribution_to_json(found))
    assert low - math.ulp(high) * 2 <= found.low < found.high <= high
    assert abs(round((found.high - found.low) / step) * step - (found.high - found.low)) <= 4 * math.ulp(high)
    assert again == found, "a trial that is read again has the same range"


def test_lists_and_mappings_are_choices_which_the_objective_gets_as_such(tmp_path):
    file = load(
        tmp_path,
        """
space:
  units: {choice: [[2, 2, 2], [16, 8, 1], {deep: [1, 2]}, none, null]}
  rate: {float: [0, 1], when: {units: [[2, 2, 2], none]}}
  epochs: 9
start_from: {enqueue: [{units: [16, 8, 1]}, {units: {deep: [1, 2]}}, {units: null}, {units: '[2, 2, 2]'}]}
""",
    )
    texts = ("[2, 2, 2]", "[16, 8, 1]", '{"deep": [1, 2]}', "none", None)
    assert file.space.distributions["units"].choices == texts
    assert [point["units"] for point in file.start_from.enqueue] == [texts[1], texts[2], None, texts[0]]
    given = [file.space.for_objective({"units": text, "epochs": 9})["units"] for text in texts]
    assert given == [[2, 2, 2], [16, 8, 1], {"deep": [1, 2]}, "none", None]
    (rate,) = (p for p in file.space.parameters if p.name == "rate")
    assert [rate.active({"units": text}) for text in texts] == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("k != [2, 2, 2]", ["[16, 8]", '{"deep": 1}', "none"]),
        ("k != (2, 2, 2)", ["[16, 8]", '{"deep": 1}', "none"]),
        ("len(k) == 3", ["[2, 2, 2]"]),
        ("k != 'none' and (16 in k or 'deep' in k)", ["[16, 8]", '{"deep": 1}']),
    ],
)
def test_constraints_are_evaluated_on_lists_and_mappings(tmp_path, text, allowed):
    space = "space: {k: {choice: [[2, 2, 2], [16, 8], {deep: 1}, none]}, n: {int: [0, 1]}}\n"
    file = load(tmp_path, f'{space}constraints: ["{text}"]\nsampler: bruteforce\n')
    found = [k for k in file.space.distributions["k"].choices if file.space.feasible({"k": k, "n": 0})]
    assert (found, file.points) == (allowed, 2 * len(allowed))
    given = "start_from: {enqueue: [{k: [2, 2, 2], n: 1}]}\n"
    text = "k != [2, 2, 2]"
    with pytest.raises(UserError, match=r"enqueue\[0\]: the point does not meet the constraint 'k != \[2, 2, 2\]'"):
        load(tmp_path, f'{space}constraints: ["{text}"]\n{given}')


def test_a_parameter_that_set_fixes_may_leave_others_inactive(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(HEAD + "space: {n: {int: [1, 2]}, x: {int: [0, 1]}, y: {int: [0, 1], when: {n: [1, 2]}}}\n")
    for fixed, size in (("1", 4), ("3", 2), ("true", 2)):
        assert load_study_file(path, [f"space.n={fixed}"]).space.size() == size


def test_a_given_mapping_is_the_choice_with_the_same_entries_in_any_order(tmp_path):
    space = "space: {m: {choice: [{a: 1, b: 2}, {b: 2}]}}\n"
    file = load(tmp_path, f"{space}start_from: {{enqueue: [{{m: {{b: 2.0, a: 1}}}}]}}\n")
    assert file.start_from.enqueue == ({"m": '{"a": 1, "b": 2}'},)


@pytest.mark.parametrize("point", ["[true]", "[1, 1]", "{a: true}"])
def test_a_given_list_of_other_types_is_not_the_choice(tmp_path, point):
    with pytest.raises(UserError, match=r"enqueue\[0\]\.m: .* is not one of choice "):
        load(tmp_path, f"space: {{m: {{choice: [[1], {{a: 1}}]}}}}\nstart_from: {{enqueue: [{{m: {point}}}]}}\n")


@pytest.mark.parametrize("point", ["[2, 2]", "[2, 2, 2, 2]", "{deep: [1]}", "'2'", "2"])
def test_a_point_that_is_none_of_the_lists_is_refused(tmp_path, point):
    with pytest.raises(UserError, match=r"enqueue\[0\]\.units: .* is not one of choice \[\[2, 2, 2\], \[16, 8, 1\]\]"):
        load(
            tmp_path,
            f"space: {{units: {{choice: [[2, 2, 2], [16, 8, 1]]}}}}\nstart_from: {{enqueue: [{{units: {point}}}]}}\n",
        )


CHOICES = [
    ("[true, false]", "1", True),
    ("[true, false]", "0.0", False),
    ("[0, 1]", "true", 1),
    ("[0, 1]", "1.0", 1),
    ("[0.5, 2.0]", "2", 2.0),
    ("['1', 1]", "1.0", 1),
    ("['1', 1]", "'1'", "1"),
    ("['true', true]", "1", True),
    ("['true', true]", "'true'", "true"),
    ("[null, '']", "''", ""),
]


@pytest.mark.parametrize(("choices", "typed", "runs"), CHOICES)
def test_an_enqueued_choice_is_the_choice_s_own_object(tmp_path, choices, typed, runs):
    file = load(tmp_path, f"space: {{x: {{choice: {choices}}}}}\nstart_from: {{enqueue: [{{x: {typed}}}]}}\n")
    (point,) = file.start_from.enqueue
    assert (type(point["x"]), point["x"]) == (type(runs), runs)


@pytest.mark.parametrize(("kind", "typed", "runs"), [("float", "1", 1.0), ("int", "1.0", 1)])
def test_an_enqueued_number_has_the_parameter_s_type(tmp_path, kind, typed, runs):
    file = load(tmp_path, f"space: {{x: {{{kind}: [0, 9]}}}}\nstart_from: {{enqueue: [{{x: {typed}}}]}}\n")
    (point,) = file.start_from.enqueue
    assert (type(point["x"]), point["x"]) == (type(runs), runs)


def test_a_grid_takes_lists_for_choices_that_are_lists(tmp_path):
    file = load(
        tmp_path,
        """
space: {units: {choice: [[2, 2, 2], [16, 8, 1], {deep: 1}]}, n: {int: [1, 2]}}
sampler: {name: grid, search_space: {units: [[16, 8, 1], {deep: 1}]}}
""",
    )
    given = file.sampler.args["search_space"]
    assert grid_values(file.space, given) == {"units": ["[16, 8, 1]", '{"deep": 1}'], "n": [1, 2]}


def test_the_best_parameters_have_the_list_itself(tmp_path):
    file = load(tmp_path, "space: {units: {choice: [[2, 2], '[3]', x]}, n: {int: [1, 2]}}\n")
    trials = [
        create_trial(params={"units": units, "n": 1}, distributions=file.space.distributions, value=float(value))
        for value, units in enumerate(["[2, 2]", "[3]", "x"])
    ]
    for number, trial in enumerate(trials):
        trial.number = number
    data = StudyData(
        url="sqlite:///x.db",
        name="s",
        directions=("minimize",),
        metrics=("value",),
        trials=tuple(trials),
        user_attrs={},
        system_attrs={DEFINITION: {"space": json.loads(json.dumps(file.space.to_json()))}},
    )
    assert [best_params(data, number)["units"] for number in range(3)] == [[2, 2], "[3]", "x"]
    assert best_params(data) == {"units": [2, 2], "n": 1}
