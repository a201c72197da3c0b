"""Ports of our own, held for the whole run."""

import random
import socket

RANGE = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections (32768 and up).

A server that is down must find its port free when it comes back: in that range a client that
reconnects could be given the very port it calls, and would then be connected to itself.
"""


def free_port() -> int:
    """Return a free TCP port on 127.0.0.1 that no other run of these tests will take."""
    for port in random.sample(RANGE, k=len(RANGE)):
        if _hold(port) and _unused(port):
            return port
    raise OSError("every port is taken")


def _hold(port: int) -> bool:
    """Claim the port among runs, by an abstract socket that stays open while this process lives."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0mirt-test-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()
    return True


def _unused(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
