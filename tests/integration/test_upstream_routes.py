"""The routes that upstream Kerbside has: a file for oneself, the hypervisor's own, and the exchanges of
clouds that have no source here."""

import json

import pytest
from spice import MAIN, OK, Client, Link

VV = "application/x-virt-viewer"


def values(text: bytes) -> dict:
    return dict(line.split("=", 1) for line in text.decode().splitlines() if "=" in line)


def test_a_file_for_oneself(world):
    mark = world.kerbside.mark()
    path = "/console/proxy/lab/desk/console.vv?title=x&language=de"
    status, headers, text = world.kerbside.call("HEAD", path)
    assert (status, headers.get_content_type(), text) == (200, VV, b"")
    assert world.kerbside.audit("grant.created", mark) == []
    headers, text = world.kerbside.ask("GET", path)
    assert headers.get_content_type() == VV
    assert headers["Content-Disposition"] == 'attachment; filename="desk.vv"'
    made = world.kerbside.audit("grant.created", mark)
    assert [e["grant_id"] for e in made] == [headers["X-Grant-Id"]]
    client = Client(world.kerbside.address, world.tls)
    assert client.link(values(text)["password"], Link(MAIN)) == OK
    client.close()
    world.server.take().close()


def test_the_hypervisor_itself(world):
    mark = world.kerbside.mark()
    headers, text = world.kerbside.ask("GET", "/console/direct/lab/desk/console.vv?title=x")
    assert headers.get_content_type() == VV and headers["Cache-Control"] == "no-store"
    file = values(text)
    assert (file["host"], file["port"], file["password"]) == \
        ("127.0.0.1", str(world.server.port), "sesame")
    assert "tls-port" not in file and "secure-channels" not in file and "ca" not in file
    event = world.kerbside.wait_audit("console.direct", mark)
    assert (event["source"], event["console"]) == ("lab", "desk")
    assert "sesame" not in json.dumps(event)


@pytest.mark.parametrize("way", ["proxy", "direct"])
def test_no_such_console(world, way):
    status, _, text = world.kerbside.call("GET", f"/console/{way}/lab/nothing/console.vv")
    assert (status, json.loads(text)["error"]["code"]) == (404, "console_not_found")


@pytest.mark.parametrize("path", ["/nova-console.vv?token=x&title=y", "/sf-console.vv?token=x"])
def test_clouds_that_are_not_there(world, path):
    status, _, text = world.kerbside.call("GET", path)
    assert (status, json.loads(text)["error"]["code"]) == (404, "exchange_unavailable")
