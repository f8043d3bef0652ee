"""How often a client may ask: at most so many requests in any 60 seconds, exactly."""

import ipaddress
import math
from collections import OrderedDict, deque

__all__ = ["Rates", "client_key"]

WINDOW = 60.0
CLIENTS = 1024
"""Clients that are remembered; beyond, the one that was silent longest is forgotten."""


class Rates:
    """When the requests of the last minute were accepted, for each client.

    >>> rates = Rates(2)
    >>> [rates.wait("a", second) for second in (0.0, 20.0, 30.5, 60.0)]
    [0, 0, 30, 0]
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._accepted: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, client: str, now: float) -> int:
        """Return 0 and count the request, or the whole seconds after which the next one will be accepted."""
        if not self._rate:
            return 0
        times = self._accepted.setdefault(client, deque())
        self._accepted.move_to_end(client)
        while len(self._accepted) > CLIENTS:
            self._accepted.popitem(last=False)
        while times and times[0] <= now - WINDOW:
            times.popleft()
        if len(times) >= self._rate:
            return max(1, math.ceil(times[0] + WINDOW - now))
        times.append(now)
        return 0


def client_key(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the 64 bits of IPv6 that one household gets.

    >>> client_key("2001:db8::1") == client_key("2001:db8::ffff"), client_key("192.0.2.1")
    (True, '192.0.2.1')
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
