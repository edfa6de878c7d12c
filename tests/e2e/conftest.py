"""Fixtures of the end-to-end tests: a lab for each test, and the road to a console."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from lab import Lab  # noqa: E402


@pytest.fixture
def lab(tmp_path):
    held = Lab(tmp_path)
    try:
        yield held
    finally:
        held.stop()


class Road:
    """How a test's client reaches a hypervisor: straight, or through a kerbside."""

    def __init__(self, lab: Lab, name: str):
        self.lab = lab
        self.name = name
        self.kerbside = None

    @property
    def through_kerbside(self) -> bool:
        return self.name == "kerbside"

    def client(self, hypervisor, **options):
        if not self.through_kerbside:
            return self.lab.client(endpoint=hypervisor.endpoint, **options)
        if self.kerbside is None:
            self.kerbside = self.lab.kerbside(hypervisor)
        return self.lab.client_through(self.kerbside, hypervisor.endpoint.uuid, **options)


@pytest.fixture(params=["direct", "kerbside"])
def road(request, lab):
    """Both ways: what a test asserts through kerbside must also hold without it, which proves
    that the parts are real and the expectations right."""
    return Road(lab, request.param)
