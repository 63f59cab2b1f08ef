"""Schemas in the form that AI/ML API publishes, including its defects."""

from __future__ import annotations

import contextlib
import copy
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

import update_schema
from own_schema import GENERATED, STORED, stored_schemas

PATH = "/v1/images/generations"


def schema(model: str, fields: dict[str, Any], *, required: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """Make the schema of another model, with the publisher's usual defects.

    Args:
        model: Its name.
        fields: The fields of the request, except `model`.
        required: Names of required fields, except `model`.
        changes: Parts of the operation to replace.
    """
    body = {
        "type": "object",
        "title": model,
        "properties": {"model": {"type": "string", "enum": [model]}, **fields},
        "required": ["model", *required],
    }
    operation = {
        "operationId": "_v1_images_generations",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": copy.deepcopy(STORED["paths"][PATH]["post"]["responses"]),
        **changes,
    }
    return {
        "openapi": "3.0.0",
        "info": {"title": model, "version": "1.0.0"},
        "servers": [{"url": "https://api.aimlapi.com"}],
        "paths": {PATH: {"post": operation}},
    }


def changed(edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the stored schema after a change of its operation."""
    document = copy.deepcopy(STORED)
    edit(document["paths"][PATH]["post"])
    return document


def fields_of(operation: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an operation's request."""
    found: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    return found


def answer_of(operation: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an operation's response."""
    found: dict[str, Any] = operation["responses"]["200"]["content"]["application/json"]["schema"]
    return found


def page(document: object, *, fence: str = "```json", indent: int | None = None) -> str:
    """Make a documentation page that contains a schema among other code."""
    return "\n".join(
        [
            "# A model",
            "",
            "{% hint %}",
            "openapi is mentioned here, too.",
            "",
            '```json\n{"model": "an example, no schema"}\n```',
            "```python\nprint({'openapi': 3})\n```",
            "",
            ">",
            "",
            f"{fence}\n{json.dumps(document, indent=indent)}\n{fence.rstrip('jsonyaml')}",
            "```json5\n{'data': [],}\n```",
            "",
        ]
    )


def project(folder: Path) -> tuple[Path, Path]:
    """Make openapi/ and generated/ from the schema of the tests, for tests that change them. Returns both folders."""
    openapi = stored_schemas(folder)
    return openapi, Path(shutil.copytree(GENERATED, folder / "generated"))


def new_size(operation: dict[str, Any]) -> None:
    """Add a size to an operation's request."""
    fields_of(operation)["size"]["enum"].append("2048x2048")


def run_update(tmp_path: Path, *arguments: str, document: object = None, text: str | None = None) -> int:
    """Run update_schema on copies of the folders, with a document or text as its source. Returns the exit code."""
    if not (tmp_path / "openapi").exists():
        project(tmp_path)
    if document is not None or text is not None:
        (tmp_path / "source").write_text(text or json.dumps(document), encoding="utf-8")
        arguments = (*arguments, str(tmp_path / "source"))
    return update_schema.main(
        [*arguments, "--openapi", str(tmp_path / "openapi"), "--output", str(tmp_path / "generated")]
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file in a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@attrs.frozen
class Pages:
    """A running web server: its address, and the status and body for each path."""

    url: str
    answers: dict[str, tuple[int, bytes]]


@contextlib.contextmanager
def serve_pages() -> Iterator[Pages]:
    """Run a web server on a free local port."""
    answers: dict[str, tuple[int, bytes]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, b"<html><title>Not Found</title></html>"))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", body.decode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Pages(f"http://127.0.0.1:{server.server_port}", answers)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
