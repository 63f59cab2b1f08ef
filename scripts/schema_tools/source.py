"""Schema sources: pages, files, URLs and standard input."""

from __future__ import annotations

import html
import json
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import yaml

from schema_tools import Document, SchemaError
from schema_tools.merge import models_of
from schema_tools.normalize import normalize

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_SECONDS: Final = 60.0
_MAX_REDIRECTS: Final = 5
_FENCE: Final = re.compile(r"^(?P<before>[ \t>]*)(?P<fence>`{3,}|~{3,})")
_LOOKS_LIKE_ONE: Final = re.compile(r"""(?:^|[{,])\s*["']?(?:openapi|swagger)["']?\s*:\s*["']?\d""", re.MULTILINE)
_HTML: Final = re.compile(r"^\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)


class SourceError(Exception):
    """A source without exactly one usable schema. The message says what it contains instead."""


def is_url(source: str) -> bool:
    return re.match(r"https?://", source, re.IGNORECASE) is not None


def read_source(source: str) -> str:
    """Read the text of a URL, a file, or standard input (`-`).

    Raises:
        SourceError: The source cannot be read, is too large, or is not text.
    """
    if is_url(source):
        data = fetch(source)
    elif source == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        try:
            with Path(source).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise SourceError(f"{source} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise SourceError(f"{source} has more than {MAX_BYTES:,} bytes: that is no schema")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{source} is not text in UTF-8") from error


def fetch(url: str, *, transport: httpx.BaseTransport | None = None, seconds: float = MAX_SECONDS) -> bytes:
    """Fetch the content of a URL.

    Args:
        url: An HTTPS URL; plain HTTP is accepted for loopback only.
        transport: The httpx transport; httpx's default if `None`.
        seconds: The time limit for the whole exchange.

    Raises:
        SourceError: No response in time, an error status, too many bytes, or a redirect away from HTTPS.
    """
    deadline = time.monotonic() + seconds
    try:
        with httpx.Client(transport=transport, timeout=min(seconds, 20.0)) as client:
            for _ in range(_MAX_REDIRECTS + 1):
                _check_address(url)
                with client.stream("GET", url) as answer:
                    if answer.next_request is not None:
                        url = str(answer.next_request.url)
                        continue
                    if answer.status_code != 200:
                        raise SourceError(
                            f"{url} answers with HTTP {answer.status_code} {answer.reason_phrase}".strip()
                        )
                    return _read_body(answer, url, deadline)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceError(f"{url} cannot be fetched: {str(error) or type(error).__name__}") from error
    raise SourceError(f"{url}: more than {_MAX_REDIRECTS} redirects")


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise SourceError(f"{url} is no address: {error}") from error
    if parts.scheme.lower() != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise SourceError(f"{url}: only HTTPS, or anybody on the way could change the schema")


def _read_body(answer: httpx.Response, url: str, deadline: float) -> bytes:
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise SourceError(f"{url} answers with more than {MAX_BYTES:,} bytes: that is no schema")
        if time.monotonic() > deadline:
            raise SourceError(f"{url} takes too long: {len(body):,} bytes came")
    return bytes(body)


def find_schema(
    text: str,
    *,
    path: str | None = None,
    model: str | None = None,
    prefer: Callable[[Document], bool] = lambda document: False,
) -> Document:
    """Find the OpenAPI document in a text: JSON, YAML, or a code block of a Markdown page.

    Args:
        text: The whole text.
        path: Take only a document that describes this path.
        model: Take only a document that describes this model.
        prefer: If there are several documents, take the one that this holds for.

    Raises:
        SourceError: The text has no document, several, or an incomplete one.
    """
    if not text.strip():
        raise SourceError("the source is empty")
    if _HTML.match(text):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        words = f" titled {html.unescape(title[1]).strip()!r}" if title else ""
        raise SourceError(
            f"the source is an HTML page{words}, and no schema: the Markdown page's address ends with .md"
        )
    found: list[Document] = []
    for document in _documents(text):
        if document not in found:
            found.append(document)
    if path is not None:
        found = [document for document in found if path in document.get("paths", {})]
    if model is not None:
        found = [document for document in found if model in described_models(document)]
    if not found:
        about = " and ".join(filter(None, [path, model]))
        raise SourceError(f"the source has no OpenAPI document{' for ' if about else ''}{about} in it")
    if len(found) > 1 and len(preferred := list(filter(prefer, found))) == 1:
        return preferred[0]
    if len(found) > 1:
        what = "; ".join(map(_use, found))
        raise SourceError(f"the source has {len(found)} schemas: choose one with --path or --model ({what})")
    return found[0]


def described_models(document: Document) -> tuple[str, ...]:
    """The models that a published schema describes; none if it cannot be repaired."""
    try:
        return models_of(normalize(document, "").document)
    except SchemaError:
        return ()


def _use(document: Document) -> str:
    models = ", ".join(described_models(document))
    return ", ".join(document.get("paths") or ["no path"]) + (f" for {models}" if models else "")


def _documents(text: str) -> Iterator[Document]:
    blocks = list(_code_blocks(text))
    for line, block in blocks or [(1, text)]:
        try:
            parsed = _parse(block)
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            if _LOOKS_LIKE_ONE.search(block):
                raise SourceError(
                    f"the schema from line {line} on is not whole, or not JSON or YAML: {_in_short(error)}"
                ) from error
            continue
        if isinstance(parsed, dict) and "openapi" in parsed:
            if not str(parsed["openapi"]).startswith("3."):
                raise SourceError(f"the schema is OpenAPI {parsed['openapi']!r}: only 3.x can be used")
            yield parsed
        elif isinstance(parsed, dict) and "swagger" in parsed:
            raise SourceError(f"the schema is Swagger {parsed['swagger']!r}: only OpenAPI 3.x can be used")


def _code_blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield each fenced block with the number of its first line; an unclosed one ends with the text."""
    fence, before, start, lines = "", "", 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        found = _FENCE.match(line)
        if not fence and found:
            fence, before, start, lines = found["fence"], found["before"], number + 1, []
        elif fence and found and found["fence"].startswith(fence) and not line[found.end() :].strip():
            yield start, textwrap.dedent("\n".join(lines))
            fence = ""
        elif fence:
            # A block in a quotation or a list is indented like its fence.
            lines.append(line.removeprefix(before) if line.startswith(before) else line.lstrip(" \t>"))
    if fence:
        yield start, textwrap.dedent("\n".join(lines))


def _parse(text: str) -> Any:
    if text.lstrip().startswith(("{", "[")):
        return json.loads(text)
    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
        raise ValueError("YAML aliases are not followed")
    return _with_text_keys(yaml.safe_load(text))


def _with_text_keys(node: Any) -> Any:
    """Turn keys into strings, as in JSON: YAML reads the status `200:` as a number."""
    if isinstance(node, dict):
        return {str(key): _with_text_keys(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_text_keys(value) for value in node]
    return node if isinstance(node, str | int | float | bool | None) else str(node)


def _in_short(error: Exception) -> str:
    return textwrap.shorten(" ".join(str(error).split()) or type(error).__name__, 200)
