"""a peer that begins TLS and says no more, every second for a minute, against haproxy"""

import socket
import ssl
import time

from bench import LEGS, Bench, Figure, latencies
from proxies import HaproxyProxy, KerbsideProxy

ROUNDS = 1
KINDS = (KerbsideProxy, HaproxyProxy)


def run(bench: Bench):
    seconds = 6 if bench.quick else 60
    tls = bench.legs()[0]
    with bench.backs(tls, 2) as backs:
        for _ in bench.rounds():
            for kind in bench.kinds(KINDS, tls):
                with bench.attempt(kind), bench.proxy(kind, backs) as proxy:
                    silent(bench, proxy, tls, seconds)


def client_hello() -> bytes:
    hello = ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="proxy.bench").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return hello.read()


def silent(bench: Bench, proxy, tls: bool, seconds: int):
    """Of three kinds in turn: without a byte, half a ClientHello, a whole one and nothing more."""
    hello = client_hello()
    says = (b"", hello[:len(hello) // 2], hello)
    pings = bench.load(proxy, "echo", rate=1000, channels=16, seconds=0, warmup=0.3)
    time.sleep(0.5)
    pings.part()
    time.sleep(min(seconds, bench.seconds))
    alone, peers = pings.part(), []
    try:
        for number in range(seconds):
            peer = socket.create_connection(("127.0.0.1", proxy.doors[0].port))
            peers.append(peer)
            peer.sendall(says[number % len(says)])
            time.sleep(1)
        beside = pings.part()
        session = bench.load(proxy, "storm", sessions=1, channels=7, door=1, wait="prepared")
        session.send("")
        opened = session.wait_event("opened", timeout=session.PATIENCE)
        session.finish()
        left = sum(is_open(peer) for peer in peers)
    finally:
        for peer in peers:
            peer.close()
    pings.finish()
    bench.record(f"a silent TLS peer a second for {seconds} s, {LEGS[tls]}", proxy.name,
                 {"alone": alone, "beside": beside, "opened": opened, "left": left},
                 *latencies(beside, "p50", "p99", "max"),
                 Figure("p99 meanwhile, to p99 alone", beside["p99"] / alone["p99"]),
                 Figure("ms to open a session of 8 channels then", opened["seconds"] * 1e3),
                 Figure("silent peers still connected", left))


def is_open(peer: socket.socket) -> bool:
    """Nothing more will be said to it, but it may have been told something before."""
    peer.setblocking(False)
    try:
        while peer.recv(65536):
            pass
        return False
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
