"""A client's session through kerbside, both ends of every channel in hand; and one that must go on
whatever happens beside it."""

import contextlib
import threading

from common.process import wait_until
from daemon import Kerbside
from spice import (DISPLAY, DISPLAY_INIT, MAIN, MSG_MAIN_INIT, OK, Client, Leg, Link, Server,
                   message)


class Channel:
    """Both ends of one channel."""

    def __init__(self, client: Client, server: Leg):
        self.client = client
        self.server = server

    def exchange(self, number: int = 7):
        """A message each way, which must arrive as it was sent."""
        body = number.to_bytes(12, "little")  # DISCONNECTING may be said at any time
        self.client.send(message(6, body))
        assert self.server.message() == (6, body)
        self.server.send(message(6, body))
        assert self.client.message() == (6, body)

    def close(self):
        """The client goes, and kerbside ends the server leg: closed both at once, either could be
        the one that kerbside sees first."""
        self.client.close()
        with contextlib.suppress(OSError):
            self.server.rest()
        self.server.close()


class Session:
    """main is open; further channels by `channel`. server must belong to the console."""

    def __init__(self, kerbside: Kerbside, server: Server, uuid="desk", *, address=None,
                 token=None, tls=None, source=None, source_name="lab", **wish):
        self.kerbside, self.server = kerbside, server
        self.address = address or kerbside.address
        self.tls = tls or kerbside.client_tls()
        self.token = token or kerbside.grant(uuid, source_name, **wish).token
        self.channels: list[Channel] = []
        self.connection_id = 0
        self.source = source
        self.main = self.channel(MAIN)
        kind, body = self.main.client.message()
        assert kind == MSG_MAIN_INIT
        self.connection_id = int.from_bytes(body[:4], "little")
        # All of a session's channels come from one address.
        self.source = self.main.client.source

    def client(self) -> Client:
        return Client(self.address, self.tls, source=self.source)

    def channel(self, channel_type=DISPLAY, channel_id=0) -> Channel:
        client = self.client()
        code = client.link(self.token, Link(channel_type, channel_id, self.connection_id))
        assert code == OK, f"link error {code}\n{self.kerbside.last_words()}"
        leg = self.server.take()
        assert (leg.link.channel_type, leg.link.channel_id) == (channel_type, channel_id)
        assert leg.link.connection_id == self.connection_id
        self.channels.append(Channel(client, leg))
        return self.channels[-1]

    def display(self, number=0) -> Channel:
        """A display channel of which the client has said INIT, so that the server may draw."""
        channel = self.channel(DISPLAY, number)
        channel.client.send(message(DISPLAY_INIT, bytes(14)))
        assert channel.server.message()[0] == DISPLAY_INIT
        return channel

    @property
    def id(self) -> str:
        return self.kerbside.audit("session.started", client_address=self.source)[0]["session_id"]

    def close(self):
        for channel in self.channels:
            channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def wait_end(self, after=0) -> dict:
        return self.kerbside.wait_audit("session.ended", after, session_id=self.id)


class Bystander(threading.Thread):
    """A live session beside the tests that never stops exchanging messages. `check` says whether
    it still does."""

    def __init__(self, kerbside: Kerbside, server: Server, uuid: str):
        super().__init__(daemon=True)
        self.session = Session(kerbside, server, uuid)
        self.session.channel(DISPLAY)
        self.rounds = 0
        self.failure: Exception | None = None
        self._over = threading.Event()
        self.start()

    def run(self):
        try:
            while not self._over.wait(0.01):
                for channel in self.session.channels:
                    channel.exchange(self.rounds)
                self.rounds += 1
        except Exception as e:
            self.failure = e

    def check(self):
        before = self.rounds
        wait_until(lambda: self.failure or self.rounds > before + 1,
                   "the session beside exchanges messages")
        assert self.failure is None, f"the session beside was disturbed: {self.failure!r}"

    def stop(self):
        self._over.set()
        self.join()
        self.session.close()
