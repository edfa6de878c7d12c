"""A network that fails: a TCP relay which lets so many bytes through and then does harm.

Nothing here is an assertion. What the ends make of it is for the tests.
"""

import itertools
import random
import select
import socket
import struct
import threading
from dataclasses import dataclass

from common.process import PATIENCE
from spice import own_address

FAULTS = ("close", "reset", "half", "stall", "corrupt", "dribble")


@dataclass
class Fault:
    """What happens to one connection, when `offset` bytes have passed from the side `sender`
    ("near": who connected; "far"). Before that, and in the other direction, all is well.

    close    both ends are closed, what was in flight arrives
    reset    both ends are reset
    half     the sender seems to have finished; the other direction goes on
    stall    nothing passes any more, either way, until the relay stops or an end leaves
    corrupt  this byte is another one
    dribble  from here on the bytes of both ways come one at a time
    """

    kind: str
    sender: str
    offset: int


def _reset(sock: socket.socket):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class _Connection(threading.Thread):
    """Both ends of one connection and its fault. The threads of one relay end with `over`."""

    def __init__(self, near: socket.socket, far: socket.socket, fault: Fault | None, over: int):
        super().__init__(daemon=True)
        self.ends = {"near": near, "far": far}
        self.other = {near: far, far: near}
        self.fault, self.over = fault, over
        self.passed = {near: 0, far: 0}
        self.piece = 1 << 16
        self.start()

    def run(self):
        try:
            self._carry()
        except OSError:
            pass  # an end that left while it was written to
        for sock in self.ends.values():
            sock.close()

    def _carry(self):
        reading = list(self.ends.values())
        while reading:
            ready = select.select([*reading, self.over], [], [])[0]
            if self.over in ready:
                return
            for sock in ready:
                if not self._move(sock, reading):
                    return

    def _move(self, sock, reading) -> bool:
        """One piece from this end to the other; whether the connection goes on."""
        fault = self.fault
        mine = fault and self.ends[fault.sender] is sock
        left = fault.offset - self.passed[sock] if mine else self.piece
        if left <= 0:
            left = 1 if fault.kind == "corrupt" else self.piece
            go_on = self._harm(sock, reading)
            if go_on is not None:
                return go_on
        data = sock.recv(min(left, self.piece))
        if not data:
            reading.remove(sock)
            self.other[sock].shutdown(socket.SHUT_WR)
            return True
        if mine and self.passed[sock] == fault.offset and fault.kind == "corrupt":
            data = bytes([data[0] ^ 0x5A]) + data[1:]
        self.passed[sock] += len(data)
        self.other[sock].sendall(data)
        return True

    def _harm(self, sock, reading) -> bool | None:
        """None: the bytes pass, whatever becomes of them."""
        kind = self.fault.kind
        if kind == "close":
            return False
        if kind == "reset":
            for end in self.ends.values():
                _reset(end)
            return False
        if kind == "half":
            self.fault = None
            reading.remove(sock)
            self.other[sock].shutdown(socket.SHUT_WR)
            return True
        if kind == "stall":
            return self._stall()
        if kind == "dribble":
            self.piece = 1
            self.fault = None
        return None

    def _stall(self) -> bool:
        """Until an end is gone, which a poll that asks for no bytes tells."""
        poll = select.poll()
        for end in self.ends.values():
            poll.register(end, select.POLLRDHUP)
        poll.register(self.over, select.POLLIN)
        poll.poll()
        return False


class BadNetwork:
    """Listens at `address` and carries each connection to `target`. Three of four have a fault,
    each kind in its turn, at a byte by chance below `most`: small offsets are as likely as large
    ones, for the phases of a connection are of some hundred bytes each, and its life is not."""

    def __init__(self, target: tuple[str, int], chance: random.Random, most: int):
        self._target, self._chance, self._most = target, chance, most
        self._kinds = itertools.cycle(FAULTS)
        self._over, self._end = socket.socketpair()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = self._socket.getsockname()
        self.faults: list[Fault] = []
        self._connections: list[_Connection] = []
        self.source = own_address()  # where the target sees them come from
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _draw(self) -> Fault | None:
        if self._chance.random() < 0.25:
            return None
        return Fault(next(self._kinds), self._chance.choice(("near", "far")),
                     int(self._most ** self._chance.random()))

    def _accept(self):
        while True:
            ready = select.select([self._socket, self._over], [], [])[0]
            if self._over in ready:
                return
            near, _ = self._socket.accept()
            near.settimeout(PATIENCE)
            try:
                far = socket.create_connection(self._target, PATIENCE,
                                               source_address=(self.source, 0))
            except OSError:
                near.close()
                continue
            fault = self._draw()
            if fault:
                self.faults.append(fault)
            self._connections.append(_Connection(near, far, fault, self._over))

    def stop(self):
        """Ends what is still there."""
        self._end.close()
        self._thread.join()
        for connection in self._connections:
            connection.join()
        self._socket.close()
        self._over.close()
