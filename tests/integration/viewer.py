"""A viewer without a screen: `viewer.py FILE` opens a .vv file as remote-viewer does, with the main
channel and a display, takes the file away, and stays until it is cut off."""

import configparser
import os
import ssl
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from spice import DISPLAY, MSG_MAIN_INIT, OK, Client, Link  # noqa: E402


def main(path: str):
    parser = configparser.RawConfigParser(strict=True)
    parser.read(path)
    file = parser["virt-viewer"]
    if file["delete-this-file"] == "1":
        os.unlink(path)
    tls = ssl.create_default_context(cadata=file["ca"].replace("\\n", "\n"))
    address = (file["host"], int(file["tls-port"]))
    main = Client(address, tls)
    assert main.link(file["password"]) == OK
    kind, body = main.message()
    assert kind == MSG_MAIN_INIT
    display = Client(address, tls, source=main.source)
    link = Link(DISPLAY, 0, int.from_bytes(body[:4], "little"))
    assert display.link(file["password"], link) == OK
    main.sock.settimeout(None)
    while main.sock.recv(1 << 16):
        pass


if __name__ == "__main__":
    main(sys.argv[1])
