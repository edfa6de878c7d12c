"""A display waits in its hypervisor, where what is newer still replaces it, and not on the way to a
client that cannot take it. How fast that is, tools/bench wan measures; here is what must hold."""

import random
import select
import socket
import struct
import threading

from session import Session
from spice import DISPLAY, message

# The messages here mean nothing; what they may mean is test_grammar.py's.
POLICIES = {"default": {"grammar": "observe"}}

KIB, MIB = 1 << 10, 1 << 20
BYTES_ACKED_AT = 120  # in struct tcp_info (linux/tcp.h)


def taken(sock) -> int:
    """Bytes that the peer's kernel has taken."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return struct.unpack_from("Q", info, BYTES_ACKED_AT)[0]


def send_until_stuck(wire, data: bytes) -> int:
    """How much of it goes into the socket before nothing goes for a while."""
    sent = 0
    wire.sock.setblocking(False)
    try:
        while sent < len(data) and select.select([], [wire.sock], [], 1)[1]:
            sent += wire.sock.send(data[sent:sent + MIB])
    finally:
        wire.sock.setblocking(True)
    return sent


def test_a_hypervisor_is_not_read_ahead_of_a_client_that_does_not_read(world):
    data = b"".join(message(120, random.Random(i).randbytes(40000)) for i in range(300))
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(DISPLAY)
        sent = send_until_stuck(channel.server, data)
        # Not even one, but how soon the gate closes is a matter of time. Without it, more than four.
        assert taken(channel.server.sock) < 2 * MIB
        rest = threading.Thread(target=channel.server.send, args=(data[sent:],))
        rest.start()
        got = bytearray()
        while len(got) < 2 * MIB:  # a slow one: it is let in piece by piece
            got += channel.client.read(7000)
        got += channel.client.read(len(data) - len(got))
        rest.join()
        assert got == data
        channel.exchange()


def test_a_client_that_goes_while_its_hypervisor_is_held_back(world):
    data = message(120, bytes(8 * MIB))
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(DISPLAY)
        send_until_stuck(channel.server, data)
        assert taken(channel.server.sock) < 2 * MIB
        channel.client.reset()
        assert channel.server.rest() == b""
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id)
        assert (closed["reason"], closed["channel"]) == ("client_lost", "display:0")
        session.main.exchange()


def test_a_hypervisor_that_goes_while_it_is_held_back(world):
    """What it has said is read to the end first."""
    data = message(120, random.Random(3).randbytes(400 * KIB))
    with Session(world.kerbside, world.server) as session:
        channel = session.channel(DISPLAY)

        def say():
            channel.server.send(data)
            channel.server.leave()

        thread = threading.Thread(target=say)
        thread.start()
        assert channel.client.rest() == data
        channel.client.close()
        thread.join()
        closed = world.kerbside.wait_audit("channel.closed", session_id=session.id)
        assert closed["reason"] == "server_closed"
