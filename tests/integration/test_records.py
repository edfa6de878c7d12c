"""Where TLS records end towards a client. spice-gtk takes one message and then waits for its
socket, not for what its TLS layer has decrypted already: the last record that comes may hold bytes
of one message only, or the one behind it lies there until the server speaks again."""

import random
import ssl

import pytest
from session import Session
from spice import DISPLAY, DISPLAY_INIT, OK, Client, Link, message

INVAL_LIST, MARK = 105, 102  # of a display: from two bytes on, and none

HEADER = 5  # of a TLS record: type, version, length


class RecordClient(Client):
    """A client that takes one TLS record at a time and keeps what was in each."""

    def __init__(self, address, tls, *, source):
        super().__init__(address, None, source=source)
        self.records: list[bytes] = []
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._in, self._out, server_hostname=address[0])
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
        self._flush()

    def _flush(self):
        self.sock.sendall(self._out.read())

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            assert more, "the connection ended within a record"
            data += more
        return data

    def _feed(self):
        header = self._take(HEADER)
        self._in.write(header + self._take(int.from_bytes(header[3:], "big")))

    def send(self, data: bytes):
        self._tls.write(data)
        self._flush()

    def _receive(self) -> bytes:
        while True:
            self._feed()
            try:
                self.records.append(self._tls.read(1 << 16))
                return self.records[-1]
            except ssl.SSLWantReadError:  # a session ticket
                pass


@pytest.fixture
def display(world):
    with Session(world.kerbside, world.server) as session:
        client = RecordClient(session.address, session.tls, source=session.source)
        assert client.link(session.token, Link(DISPLAY, 0, session.connection_id)) == OK
        leg = session.server.take()
        client.send(message(DISPLAY_INIT, bytes(14)))
        assert leg.message()[0] == DISPLAY_INIT
        client.records.clear()
        yield client, leg
        client.close()
        leg.close()


def said(body: bytes) -> bytes:
    """By a server to a display."""
    return message(INVAL_LIST if body else MARK, body)


def test_one_message_is_one_record(display):
    client, leg = display
    for number in range(5):
        leg.send(said(bytes([number]) * 300))
        assert client.message() == (INVAL_LIST, bytes([number]) * 300)
    assert [len(record) for record in client.records] == [306] * 5


def test_messages_that_come_at_once(display):
    """Small enough to be one segment, so that the relay reads them at once."""
    client, leg = display
    burst = [said(bytes([n]) * 100) for n in range(10)]
    leg.send(b"".join(burst))
    client.read(sum(map(len, burst)))
    assert client.records == [b"".join(burst[:-1]), burst[-1]]


@pytest.mark.parametrize("last", [0, 10, 16384, 16385, 40000, 300000])
def test_the_last_record_holds_one_message(display, last):
    client, leg = display
    chance = random.Random(last)
    before = b"".join(said(chance.randbytes(chance.choice((0, 50, 900, 16384, 20000))))
                      for _ in range(60))
    whole = before + said(chance.randbytes(last))
    leg.send(whole)
    assert client.read(len(whole)) == whole
    assert len(client.records[-1]) <= 6 + last
    # And many messages do not mean many records.
    assert len(client.records) < 60 + len(whole) // 16384
