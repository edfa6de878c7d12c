"""The audit as a file: JSON lines and CSV, whole, and safe to open in a spreadsheet."""

import contextlib
import csv
import http.client
import io
import json
import socket
import sqlite3

import pytest
from common.process import PATIENCE, wait_until
from spice import Client

NAMES = ["=1+1", "+cmd", "-2", "@SUM(A1)", 'say "hi", bob', "tést ü", "plain"]


@pytest.fixture(scope="module")
def events(world):
    """Some events that a file could break on; all of the audit as the API has it."""
    for name in NAMES:
        world.kerbside.ask("POST", "/api/v1/consoles/lab/desk/grants", {"user": name})
    client = Client(world.kerbside.address, world.tls)
    client.link("no-such-token")
    client.close()
    world.kerbside.wait_audit("grant.denied")


def fetch(world, query="", **headers):
    got, text = world.kerbside.ask("GET", f"/api/v1/audit?{query}", headers=headers)
    return got, text.decode()


@pytest.mark.parametrize("query, headers", [
    ("format=jsonl", {}), ("", {"Accept": "application/x-ndjson"}),
    ("format=jsonl", {"Accept": "text/csv"}),
])
def test_json_lines(world, events, query, headers):
    got, text = fetch(world, query, **headers)
    assert got.get_content_type() == "application/x-ndjson"
    assert got["Content-Disposition"] == 'attachment; filename="audit.jsonl"'
    lines = [json.loads(line) for line in text.splitlines()]
    until = lines[0]["time"]
    listed = world.kerbside.items("/api/v1/audit", until=until)
    assert lines[-len(listed):] == listed


@pytest.mark.parametrize("query, headers", [("format=csv", {}), ("", {"Accept": "text/csv"})])
def test_csv(world, events, query, headers):
    got, text = fetch(world, query, **headers)
    assert (got.get_content_type(), got.get_content_charset()) == ("text/csv", "utf-8")
    assert text.count("\n") == text.count("\r\n")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    lines = [json.loads(line) for line in fetch(world, "format=jsonl")[1].splitlines()]
    by_id = {event["id"]: event for event in lines}
    assert {name for event in lines for name in event} <= set(rows[0])
    for row in rows:
        event = by_id[row["id"]]
        for name, shown in row.items():
            value = event.get(name)
            value = "" if value is None else str(value)
            assert shown == ("'" + value if value[:1] in tuple("=+-@") else value)
    users = {row["user"].removeprefix("'") for row in rows}
    assert set(NAMES) <= users


def test_filters_and_pages(world, events):
    got, text = fetch(world, "format=jsonl&event=grant.created&limit=3")
    ids = [json.loads(line)["id"] for line in text.splitlines()]
    assert len(ids) == 3
    got, text = fetch(world, f"format=jsonl&event=grant.created&cursor={got['X-Next-Cursor']}")
    ids += [json.loads(line)["id"] for line in text.splitlines()]
    assert got["X-Next-Cursor"] is None
    assert ids == [e["id"] for e in world.kerbside.items("/api/v1/audit", event="grant.created")]


def test_nothing_found(world):
    got, text = fetch(world, "format=csv&user=nobody-at-all")
    assert text.startswith("id,time,event,") and text.count("\r\n") == 1
    assert fetch(world, "format=jsonl&user=nobody-at-all")[1] == ""


def test_more_than_a_page(world, events):
    """A page of the store has 1000; a file goes on."""
    for _ in range(1100):
        world.kerbside.ask("POST", "/api/v1/consoles/lab/desk/grants", {})
    _, text = fetch(world, "format=jsonl")
    ids = [json.loads(line)["id"] for line in text.splitlines()]
    assert len(ids) > 1100 and ids == sorted(set(ids), key=int, reverse=True)


def test_client_that_leaves(world, events):
    """Before the file has ended: nothing stays of it (which is looked at after every test)."""
    for _ in range(1100):  # more than one piece
        world.kerbside.ask("POST", "/api/v1/consoles/lab/desk/grants", {})
    _, text = world.kerbside.ask("POST", "/api/v1/apikeys", {"name": "leaver", "role": "auditor"})
    key = json.loads(text)["key"]
    for size in (1, 5000, 300000):
        leaver = http.client.HTTPSConnection(*world.kerbside.address, context=world.tls,
                                             timeout=PATIENCE)
        leaver.request("GET", "/api/v1/audit?format=csv",
                       headers={"Authorization": f"Bearer {key}"})
        answer = leaver.getresponse()
        assert answer.status == 200 and answer.getheader("Transfer-Encoding") == "chunked"
        assert len(answer.read(size)) == size
        leaver.close()
    assert fetch(world, "format=csv&limit=1")[1].count("\r\n") == 2


BULK = 60000


@pytest.fixture
def bulk(world):
    """More events than fit into what lies between a sender and a reader; the path of the store."""
    path = world.kerbside.state_dir / "kerbside.db"
    store = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    columns = [row[1] for row in store.execute("PRAGMA table_info(audit)") if row[1] != "id"]
    row = {**dict.fromkeys(columns, ""), "time": 1, "event": "grant.created", "source": "bulk",
           "detail": "x" * 500, "bytes_from_client": None, "bytes_from_server": None,
           "duration": None, "count": 1}
    with contextlib.closing(store):
        store.execute("BEGIN IMMEDIATE")
        store.executemany(
            f"INSERT INTO audit ({','.join(columns)}) VALUES ({','.join('?' * len(columns))})",
            ([row[c] for c in columns] for _ in range(BULK)))
        store.execute("COMMIT")
        yield path
        store.execute("DELETE FROM audit WHERE source = 'bulk'")


def test_many_events_and_a_store_that_goes_away(world, bulk):
    """A file is whole, or its end is an error: nobody takes a part of it for all there is."""
    reader = http.client.HTTPConnection("localhost", timeout=PATIENCE)

    def begin():
        reader.sock = socket.socket(socket.AF_UNIX)
        reader.sock.settimeout(PATIENCE)
        reader.sock.connect(str(world.kerbside.runtime_dir / "admin.sock"))
        reader.request("GET", "/api/v1/audit?format=jsonl&source=bulk")
        return reader.getresponse()

    whole = begin().read()
    assert whole.count(b"\n") == BULK
    reader.close()
    answer = begin()
    beginning = answer.read(10)
    away = bulk.with_name("away.db")
    bulk.rename(away)
    try:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    finally:
        away.rename(bulk)
        reader.close()
    assert whole.startswith(beginning)
    wait_until(lambda: world.kerbside.call("GET", "/api/v1/audit?limit=1")[0] == 200,
               "the store is back")


@pytest.mark.parametrize("query", ["format=xml", "format=csv&cursor=nonsense",
                                   "format=csv&limit=0"])
def test_wrong(world, query):
    status, headers, text = world.kerbside.call("GET", f"/api/v1/audit?{query}")
    assert status == 422 and json.loads(text)["error"]["code"] == "invalid_parameter"
    assert headers["Content-Disposition"] is None
