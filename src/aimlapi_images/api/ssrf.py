"""Images are fetched from public addresses only: a URL in an answer must not reach into a private network."""

import ipaddress
from contextlib import suppress
from functools import partial
from typing import Any

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


def check_address(host: str, address: str) -> None:
    """Raise an `UntrustedURLError` if a host's address is not public."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if not is_public(found):
        raise UntrustedURLError(f"{host} leads to {found}, which is not public")


def guarded(url: httpx.URL) -> dict[str, Any]:
    """Request extensions that check the address connected to, for httpx's transport and for aiohttp's.

    So a name cannot resolve to another address after the check. A connection to a proxy passes: what lies behind it is
    the proxy's to decide.
    """
    host, proxied = url.raw_host.decode("ascii"), False
    with suppress(ValueError):  # a name: its address is checked when it is connected to
        check_address(host, url.host)

    async def trace(event: str, info: dict[str, Any]) -> None:  # by httpcore, before anything is sent
        nonlocal proxied
        if event == "connection.connect_tcp.started":
            proxied = info["host"] != host
        elif event == "connection.connect_tcp.complete" and not proxied:
            stream = info["return_value"]
            try:
                check_address(host, stream.get_extra_info("server_addr")[0])
            except UntrustedURLError:
                await stream.aclose()
                raise

    return {"trace": trace, "check_address": partial(check_address, host)}
