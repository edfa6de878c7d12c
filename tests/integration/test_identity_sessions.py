"""Sessions and a role with a scope: what lies outside of it goes on."""

import json

import pytest
from conftest import World
from session import Session
from spice import DISPLAY
from web import Web


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("scopes"))
    yield world
    world.stop()


def key(world, name, role, **scope) -> str:
    _, text = world.kerbside.ask("POST", "/api/v1/apikeys", {"name": name, "role": role, **scope})
    return json.loads(text)["key"]


@pytest.mark.parametrize("match", [{"source": "lab"}, {"source": "lab", "uuid": "desk"}])
def test_ends_only_its_own(world, match):
    """`beside` is of the same source, and has a session too."""
    web = Web(world.kerbside)
    name = "-".join(match)
    own = key(world, f"desk {name}", "operator", consoles="desk")
    other = key(world, f"far {name}", "operator", sources="far")
    with Session(world.kerbside, world.server) as session:
        session.channel(DISPLAY).exchange()
        assert web.ask("POST", "/api/v1/sessions/terminate", match, other).json == {"terminated": 0}
        session.channels[-1].exchange()
        assert web.ask("POST", "/api/v1/sessions/terminate", match, own).json == {"terminated": 1}
        session.wait_end()
    world.bystander.check()
    assert "beside" in {s["uuid"] for s in world.kerbside.sessions()}


def test_diagnosis(world):
    web = Web(world.kerbside)
    own = key(world, "diagnoses desk", "operator", consoles="desk")
    path = "/api/v1/consoles/lab/{}/diagnosis"
    assert web.ask("GET", path.format("desk"), token=own).json["ok"] is True
    assert web.ask("GET", path.format("beside"), token=own).status == 403
    assert web.ask("GET", path.format("nothing"), token=own).status == 404
