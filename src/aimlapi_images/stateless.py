"""The HTTP client below: it takes nothing along from one answer to the next request."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import httpx


class _NoCookies(httpx.Cookies):
    """Stays empty, whoever sets some."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


class StatelessClient(httpx.AsyncClient):
    """Keeps no cookies. Resolves a relative URL once: thousands of orders go to the same."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._none = _NoCookies()
        self._resolved = lru_cache(lambda url: super(StatelessClient, self).build_request("GET", url).url)

    @property  # type: ignore[misc]  # nothing can be set
    def cookies(self) -> httpx.Cookies:
        return self._none

    def build_request(self, method: str, url: httpx.URL | str, **parts: Any) -> httpx.Request:
        return super().build_request(method, self._resolved(url) if isinstance(url, str) else url, **parts)
