"""Know who sends a request: its own address, or the one that a trusted proxy names."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import falcon

from mirt.settings import Network

LONGEST_ADDRESS = 64
IPV6_PREFIX = 64
"""Bits of an IPv6 address that one customer of a provider cannot choose."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Reads the sender of a request. ``X-Forwarded-…`` counts only from ``trusted_proxies``."""

    trusted_proxies: Sequence[Network] = ()

    def address_of(self, req: falcon.Request) -> str:
        """Return the address of the client; of IPv6 its /64 network, which one sender owns.

        Proxies append the address of their peer, so the list is read from its end: the first
        address that is not one of our proxies is the client. The entries before may be forged.
        """
        address = req.remote_addr
        forwarded = (req.get_header("X-Forwarded-For") or "").split(",")
        while forwarded and self._is_trusted(address):
            if not (before := forwarded.pop().strip()[:LONGEST_ADDRESS]):
                break
            address = before
        return _of_one_sender(address)

    def hosts_of(self, req: falcon.Request) -> set[str]:
        """Return the names under which the client reached us: an ``Origin`` of ours has one."""
        forwarded = {req.forwarded_host} if self._is_trusted(req.remote_addr) else set()
        return {req.netloc, *forwarded}

    def _is_trusted(self, address: str) -> bool:
        read = _read(address)
        return read is not None and any(read in network for network in self.trusted_proxies)


def _read(address: str) -> IPv4Address | IPv6Address | None:
    try:
        read = ip_address(address)
    except ValueError:
        return None
    mapped = read.ipv4_mapped if isinstance(read, IPv6Address) else None
    return mapped or read


def _of_one_sender(address: str) -> str:
    read = _read(address)
    if not isinstance(read, IPv6Address):
        return str(read or address)
    return str(IPv6Network((read.packed, IPV6_PREFIX), strict=False))
