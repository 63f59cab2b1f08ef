"""The proxies that the environment names: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, and `NO_PROXY`.

`httpx.AsyncClient` leaves these alone when it is given a transport, and so the transports here look by themselves.
"""

from __future__ import annotations

from typing import Final
from urllib.request import getproxies, proxy_bypass

import httpx

_CACHE_SIZE: Final = 256


class EnvironmentProxies:
    """The proxies as they are when this is made.

    Attributes:
        proxies: By scheme, `http`, `https` or `all`.

    Raises:
        ValueError: A proxy's address is none.
    """

    def __init__(self) -> None:
        found = {scheme: getproxies().get(scheme) for scheme in ("http", "https", "all")}
        self.proxies = {
            scheme: httpx.Proxy(url if "://" in url else f"http://{url}") for scheme, url in found.items() if url
        }
        for scheme, proxy in self.proxies.items():
            if not proxy.url.host:
                raise ValueError(f"the environment's proxy for {scheme} names no host")
        self._known: dict[tuple[str, str, int | None], httpx.Proxy | None] = {}

    def find(self, url: httpx.URL) -> httpx.Proxy | None:
        """The proxy for a URL, or `None` to connect directly."""
        if not self.proxies:
            return None
        key = (url.scheme, url.host, url.port)
        if key not in self._known:
            if len(self._known) >= _CACHE_SIZE:
                self._known.clear()
            self._known[key] = self._find(*key)
        return self._known[key]

    def _find(self, scheme: str, host: str, port: int | None) -> httpx.Proxy | None:
        proxy = self.proxies.get(scheme) or self.proxies.get("all")
        if proxy is None or proxy_bypass(host if port is None or ":" in host else f"{host}:{port}"):
            return None
        return proxy
