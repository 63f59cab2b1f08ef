"""Images are fetched from public addresses only: a URL in an answer must not reach into a private network."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import httpx

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class UntrustedURLError(Exception):
    """The URL is not fetched, whatever the answer says."""


def is_public(address: IPAddress) -> bool:
    """Whether an address belongs to the public internet.

    An IPv6 address that embeds an IPv4 address (mapped, 6to4, NAT64) is judged by that.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if inner := address.ipv4_mapped or address.sixtofour:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_address(host: str, address: str) -> None:
    """Raise an `UntrustedURLError` if a host's address is not public."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if not is_public(found):
        raise UntrustedURLError(f"{host} leads to {found}, which is not public")


def guarded(url: httpx.URL) -> dict[str, Any]:
    """Request extensions that check the address connected to, for httpx's transport and for aiohttp's.

    Raises:
        UntrustedURLError: The host is an address that is not public.
    """
    host = url.raw_host.decode("ascii")
    with suppress(ValueError):  # a name: its address is checked when it is connected to
        check_address(host, url.host)
    return {"trace": ConnectionGuard(host), "check_address": partial(check_address, host)}


@attrs.define
class ConnectionGuard:
    """Checks each connection before anything is sent on it. A `trace` extension of httpcore.

    It judges the address connected to, so that a name cannot resolve to another address after the check. A
    connection to a proxy passes: what lies behind it is the proxy's to decide.
    """

    host: str
    _proxied: bool = attrs.field(default=False, init=False)

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        """Handle an event of httpcore. If the address is not public, close the connection and raise."""
        if event == "connection.connect_tcp.started":
            self._proxied = info["host"] != self.host
        elif event == "connection.connect_tcp.complete" and not self._proxied:
            stream = info["return_value"]
            try:
                check_address(self.host, stream.get_extra_info("server_addr")[0])
            except UntrustedURLError:
                await stream.aclose()
                raise
