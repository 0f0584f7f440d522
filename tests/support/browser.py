"""A real browser for pages: Debian's Chromium without a window, driven by Playwright, and without a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The path of Chromium. Skips the test where there is none; under CI it fails."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium: tests/support/setup.sh installs it")
        pytest.skip("it needs Chromium (tests/support/setup.sh installs it as root)")
    return program


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, as :func:`chromium` finds it."""
    from playwright.sync_api import sync_playwright

    program = chromium()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def opened(browser: Browser, file: Path, width: int) -> Iterator[tuple[Page, list[str]]]:
    """The file in a window of this width, offline; and all that the page complained of or asked the network for."""
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    troubles: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: troubles.append(request.url) if request.url.startswith("http") else None)
    try:
        page.goto(file.as_uri())
        yield page, troubles
    finally:
        context.close()
