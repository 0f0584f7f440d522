"""Reports and pages of plots in a real browser: on a phone, by keyboard, without a network."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from pilotune.pipeline.analysis.plots import make, page
from pilotune.pipeline.analysis.report import report
from tests.support.browser import browser, opened

from ..plots.test_figures import BLOCK, LONG, study

pytestmark = pytest.mark.real

NAMES = "e => [e.tagName, (e.getAttribute('aria-label') || e.innerText || '').trim()]"


def test_a_report_in_a_browser(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(report([study(**BLOCK)]))
    with browser() as chromium:
        for width in (390, 1280):
            with opened(chromium, file, width) as (shown, troubles):
                assert shown.evaluate("document.documentElement.scrollWidth") <= width
                assert troubles == []
                loaded = "[...document.images].every(each => each.complete && each.naturalWidth > 0)"
                assert shown.evaluate(loaded)
        with opened(chromium, file, 1280) as (shown, troubles):
            wanted = shown.evaluate("document.querySelectorAll('a, summary, [tabindex]').length")
            hidden = shown.evaluate("document.querySelectorAll('details [tabindex]').length")  # while it is closed
            reached = []
            for _ in range(wanted - hidden):
                shown.keyboard.press("Tab")
                reached.append(tuple(shown.evaluate(f"({NAMES})(document.activeElement)")))
            assert reached[0] == ("A", "Skip to the report")
            assert sum(tag == "SUMMARY" for tag, _ in reached) == shown.evaluate(
                "document.querySelectorAll('summary').length"
            )
            assert all(name for _, name in reached), "whatever can be reached has a name"
            shown.locator("summary").first.focus()
            shown.keyboard.press("Enter")
            assert shown.evaluate("document.querySelectorAll('details[open] table').length") == 1
            shown.emulate_media(media="print")
            assert shown.locator("details").nth(1).locator("table").is_visible(), "printed with its numbers"
            assert shown.pdf()[:4] == b"%PDF"


def test_names_of_any_length_keep_the_width(tmp_path: Path) -> None:
    found, plots = tmp_path / "report.html", tmp_path / "plots.html"
    found.write_bytes(report([LONG, replace(LONG, name="t" * 200)]))
    plots.write_bytes(page(f"Study {LONG.name}", make(LONG, ["history", "importance"])))
    with browser() as chromium:
        for file, width in itertools.product((found, plots), (390, 1280)):
            with opened(chromium, file, width) as (shown, _):
                assert shown.evaluate("document.documentElement.scrollWidth") <= width
                right = "Math.max(...[...document.images].map(each => each.getBoundingClientRect().right), 0)"
                assert shown.evaluate(right) <= width, "pictures are as wide as the page, and need no scrolling"


def test_a_page_of_plots_in_a_browser(tmp_path: Path) -> None:
    file = tmp_path / "plots.html"
    kinds = ["history", "slice", "parallel", "contour", "timeline", "utilization"]
    file.write_bytes(page("Study digits", make(study(**BLOCK), kinds)))
    with browser() as chromium, opened(chromium, file, 390) as (shown, troubles):
        shown.wait_for_selector("#utilization .main-svg")
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
        assert [each for each in troubles if "WebGL" not in each] == []
        assert shown.evaluate("document.querySelectorAll('.js-plotly-plot').length") == len(kinds)
