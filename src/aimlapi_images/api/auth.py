"""The API key, and the one origin that it is sent to."""

import re
from collections.abc import Generator
from typing import Final, Never

import httpx

_SHORTEST_SECRET: Final = 16


class BearerAuth(httpx.Auth):
    """Adds the key to requests to one origin, and removes it from all others, wherever a redirect leads."""

    def __init__(self, api_key: str, base_url: httpx.URL) -> None:
        self._secret = api_key
        self._origin = origin(base_url)
        # Each character may be written as in `/`, `\/`, `\u002f` or `%2F`. A few backslashes, since a log doubles them:
        # any number of them would take long to search for.
        self._pattern = re.compile(
            b"".join(
                rb"(?:\\{0,4}(?:%b|u(?i:%04x))|%%(?i:%02x))" % (re.escape(bytes([each])), each, each)
                for each in api_key.encode("ascii")
            )
        )

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if origin(request.url) == self._origin:
            request.headers["Authorization"] = f"Bearer {self._secret}"
        else:
            request.headers.pop("Authorization", None)
        yield request

    def redact(self, text: bytes) -> bytes:
        """Replace the key where a server repeats it: verbatim, or escaped as in JSON or in a URL."""
        if len(self._secret) < _SHORTEST_SECRET:
            return text  # not a real key, and likely to be part of other words
        return self._pattern.sub(b"[API key]", text)

    def __reduce__(self) -> Never:
        raise TypeError("a client holds an API key and open connections, and cannot be pickled: make one per process")


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port: what decides whether two URLs belong to one server."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
