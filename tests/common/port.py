"""Ports that nobody else gets."""

import socket


class Port:
    """A free TCP port of 127.0.0.1, kept until `release`.

    The socket stays bound, with SO_REUSEADDR and without listening: no other program gets the
    port as a free one, while a program that sets SO_REUSEADDR itself (libspice-server, QEMU and
    kerbside do) may listen on it.
    """

    def __init__(self, number: int = 0):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # SO_REUSEADDR only afterwards: the bind itself must fail on a port that is taken.
            self._socket.bind(("127.0.0.1", number))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        except OSError:
            self._socket.close()
            raise
        self.number: int = self._socket.getsockname()[1]

    def release(self):
        self._socket.close()

    @classmethod
    def consecutive(cls, count: int) -> list["Port"]:
        """For programs that count up from one port themselves."""
        while True:
            held = [cls()]
            try:
                held += [cls(held[0].number + i) for i in range(1, count)]
                return held
            except (OSError, OverflowError):
                for port in held:
                    port.release()
