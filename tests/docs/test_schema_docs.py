"""The tables of keys in docs/ are those that the schemas describe."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

from pilotune.fields import Bool, DefaultText, Duration, Positive, Section, Size, Text, Texts
from pilotune.schema_docs import COMMAND, key_table, main, stale_pages


def test_the_pages_are_up_to_date():
    stale = [str(path) for path in stale_pages()]
    assert not stale, f"the schemas' descriptions have changed; run: {COMMAND}"


class Inner(Section):
    size: Size = Field(default=1_500_000, description="How large.")


class Outer(Section):
    name: Text = Field(description="What it is called; a|b works.")
    walltime: Duration = Field(default=5400.0, description="How long.")
    words: Texts = Field(default=(), description="Some.")
    flag: Bool = Field(default=False, description="Whether.")
    inner: Inner = Field(default=Inner(), description="More.")
    nested: dict[str, Annotated[Inner, "a note"]] | None = Field(default=None, description="By name.")
    count: Annotated[Positive | None, DefaultText("as many as fit")] = Field(default=None, description="How many.")


def test_a_table_has_a_row_for_each_key_with_its_type_and_default():
    assert key_table(Outer).splitlines() == [
        "| key | type | default | meaning |",
        "| --- | --- | --- | --- |",
        r"| `name` | text | required | What it is called; a\|b works. |",
        "| `walltime` | duration | `1h30m` | How long. |",
        "| `words` | list of texts | none | Some. |",
        "| `flag` | true or false | `false` | Whether. |",
        "| `inner` | mapping | see below | More. |",
        "| `nested` | mapping | none | By name. |",
        "| `count` | whole number, 1 or more | as many as fit | How many. |",
    ]
    assert "| `size` | size | `1500KB` | How large. |" in key_table(Inner)


def test_a_key_without_a_description_or_a_type_name_is_refused():
    class NoDescription(Section):
        name: Text

    class NoTypeName(Section):
        name: str = Field(default="", description="What.")

    with pytest.raises(ValueError, match=r"NoDescription\.name has no description"):
        key_table(NoDescription)
    with pytest.raises(ValueError, match=r"type of NoTypeName\.name has no TypeName"):
        key_table(NoTypeName)


def test_only_what_stands_between_the_marks_is_rewritten(tmp_path):
    page = "# Title\n<!-- keys: {0} -->\n{1}<!-- end of keys -->\nBelow.\n"
    (tmp_path / "a.md").write_text(page.format("Inner", "old\n"), encoding="utf-8")
    (tmp_path / "b.md").write_text(page.format("Outer", key_table(Outer)), encoding="utf-8")
    stale = stale_pages(tmp_path, [("a.md", "Inner", Inner), ("b.md", "Outer", Outer)])
    assert stale == {tmp_path / "a.md": page.format("Inner", key_table(Inner))}
    with pytest.raises(ValueError, match=r"a\.md: the page marks the blocks \['Inner'\], but these are expected"):
        stale_pages(tmp_path, [("a.md", "Outer", Outer)])


def test_check_names_the_stale_pages_and_writes_nothing(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.md"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr("pilotune.schema_docs.stale_pages", lambda: {path: "new"})
    assert (main(["--check"]), path.read_text()) == (1, "old")
    assert (main([]), path.read_text()) == (0, "new")
    monkeypatch.setattr("pilotune.schema_docs.stale_pages", dict)
    assert main(["--check"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{path}: out of date", f"{path}: written"]
