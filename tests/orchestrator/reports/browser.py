"""A real browser for tests of pages: whichever Chromium this machine has."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def open_browser() -> Iterator:
    """A headless Chromium; skips the test that asks when there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        path = next(filter(None, map(shutil.which, NAMES)), own if Path(own).exists() else None)
        if path is None:
            pytest.skip("no Chromium: install one (Debian: apt-get install chromium)")
        # As root Chromium refuses its sandbox; the pages are our own.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page that keeps what went wrong on it and what it asked the network for."""

    def __init__(self, browser, viewport=None) -> None:
        self.page = browser.new_page(viewport=viewport or DESKTOP)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.missing: list[str] = []
        self.page.on("response", self._on_response)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _on_response(self, response) -> None:
        if response.status >= 400:
            self.missing.append(response.url)

    def _on_console(self, message) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def open(self, path: Path):
        """Load a file and wait until its scripts have run."""
        self.page.goto(path.resolve().as_uri(), wait_until="load")
        return self.page
