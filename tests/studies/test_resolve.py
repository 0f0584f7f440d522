"""Mistakes in URLs of databases, and in options: each is told with the file and line, or the option, that has it."""

from __future__ import annotations

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studies.resolve import (
    check_database_folder,
    given_url,
    prepare_run,
    split_overrides,
    storage_url,
)
from pilotune.pipeline.studyfile import load_study_file

STUDY = """\
name: s
command: run
direction: minimize
budget: {trials: 5}
space: {x: {float: [0, 1]}, k: {choice: [[1, 2], [3]]}}
start_from: {enqueue: [{x: 0.5}]}
"""

URLS = [
    ("foo.db", "the storage must be a URL: sqlite:///foo.db or postgresql://host/database"),
    ("sqlite:///", "a study must outlive its process: name a file, as in sqlite:///study.db"),
    ("sqlite://", "a study must outlive its process: name a file, as in sqlite:///study.db"),
    ("mysql://x/y", "no storage for 'mysql': use sqlite:///study.db or postgresql://host/database"),
    ("sqlite://db.sqlite3", "an SQLite URL has three slashes and a path: sqlite:///db.sqlite3"),
    ("sqlite:////dev/null", "/dev/null: this is no regular file; name one, as in sqlite:///study.db"),
    ("sqlite:////dev", "/dev: this is a folder; name a file for the database in it"),
]


def study_file(folder, more="", settings=()):
    path = folder / "study.yaml"
    path.write_text(STUDY + more)
    return load_study_file(path, settings)


def said(call, *args, **options):
    with pytest.raises(UserError) as caught:
        call(*args, **options)
    return str(caught.value)


def database(file, runs, given=None):
    check_database_folder(file, storage_url(file, runs, given), runs, given=given is not None)


@pytest.mark.parametrize(("url", "message"), URLS)
def test_a_mistake_in_the_storage_has_the_place_of_its_url(tmp_path, url, message):
    written = study_file(tmp_path, f"storage: {url}\n")
    assert said(database, written, tmp_path) == f"{tmp_path}/study.yaml:7: storage: {message}"
    given = study_file(tmp_path, settings=[f"storage={url}"])
    assert said(database, given, tmp_path) == f"--set storage: {message}"
    assert said(database, study_file(tmp_path), tmp_path, url) == f"--storage: {message}"


def test_an_empty_url_is_none(tmp_path):
    assert said(database, study_file(tmp_path), tmp_path, "").startswith("--storage: the storage must be a URL")


def test_an_option_with_another_name_is_named(tmp_path):
    assert said(given_url, "foo.db", "--to").startswith("--to: the storage must be a URL")
    study_file(tmp_path)
    assert said(prepare_run, tmp_path, new_name="a b") == (
        "--new-name: must be 1 to 128 letters, digits, '.', '_', '+' or '-', beginning with a letter or digit, "
        "but is 'a b'"
    )


def test_a_setting_may_have_an_index(tmp_path):
    settings = ["start_from.enqueue[0].x=0.25", "space.x.float[1]=2", "space.k.choice[1][0]=4", "space.k.choice.0.1=5"]
    assert split_overrides(["constraints[0]=x < 1", *settings]) == ([], ["constraints[0]=x < 1", *settings])
    file = study_file(tmp_path, settings=settings)
    assert file.start_from.enqueue == ({"x": 0.25},)
    assert file.space.distributions["x"].high == 2.0
    assert file.space.distributions["k"].choices == ("[1, 5]", "[4]")


SETTINGS = [
    ("start_from.enqueue[0].x=2", "--set start_from.enqueue[0].x: 2 is not one of float [0.0, 1.0]"),
    ("start_from.enqueue[1].x=0", "--set start_from.enqueue[1].x: 'start_from.enqueue' is a list of 1; '1' is not an "
     "index of it"),
    ("start_from.enqueue[a].x=0", "--set start_from.enqueue[a].x: [a] is no index; items are numbered from 0, as in "
     "start_from.enqueue[0]"),
    ("space.x.float[2]=2", "--set space.x.float[2]: 'space.x.float' is a list of 2; '2' is not an index of it"),
    ("budget[trials]=2", "--set budget[trials]: [trials] is no index; write budget.trials"),
    ("space.y.choice[0]=2", "--set space.y.choice[0]: there is no parameter 'y'; known are x, k"),
    ("callbacks[0].name=a", "--set callbacks[0].name: there is no list callbacks to have an item; give all of it, as "
     "callbacks=[...]"),
    ("space.x.log[0]=true", "--set space.x.log[0]: there is no list space.x.log to have an item; give all of it, as "
     "space.x.log=[...]"),
    ("name.x=1", "--set name.x: 'name' is 's', which has no keys below it"),
    ("space.x.float[1]=-2", "--set space.x.float[1]: space.x.float: low 0.0 is above high -2.0; write [-2.0, 0.0]"),
    ("budget.more.trials=2", "--set budget.more.trials: budget.more: unknown key; known are trials, time, failures, "
     "target, patience, node_hours, gpu_hours, terminator"),
]  # fmt: skip


@pytest.mark.parametrize(("setting", "message"), SETTINGS)
def test_a_mistake_in_a_setting_is_told_as_that_of_the_setting(tmp_path, setting, message):
    assert said(study_file, tmp_path, settings=[setting]) == message
