"""Fixtures of the page's tests: one browser for all of them, and the lab of tests/e2e."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(HERE.parent)]

from browser import Browser  # noqa: E402
from lab import Lab  # noqa: E402


@pytest.fixture
def lab(tmp_path):
    held = Lab(tmp_path)
    try:
        yield held
    finally:
        held.stop()


@pytest.fixture(scope="session")
def chromium():
    browser = Browser()
    try:
        yield browser
    finally:
        browser.quit()


@pytest.fixture
def browser(chromium, tmp_path):
    """A fresh visitor. Whatever the page does wrong, a CSP violation above all, fails the test."""
    chromium.begin(tmp_path / "downloads")
    yield chromium
    wrong = chromium.end()
    assert wrong == []
