"""Reading a schema from a page, a file, standard input or a URL."""

from __future__ import annotations

import copy
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from conftest import ROOT
from own_schema import STORED
from published import (
    PATH,
    changed,
    contents,
    fields_of,
    new_size,
    page,
    project,
    run_update,
    schema,
    serve_pages,
)
from schema_tools.source import MAX_BYTES, SourceError, fetch, find_schema
from schema_tools.stored import read_sources

# ---- Finding the schema


def quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


SHAPES: list[tuple[str, str]] = [
    ("a page", page(STORED)),
    ("a page with a schema of several lines", page(STORED, indent=4)),
    ("another fence", page(STORED, fence="~~~~", indent=1)),
    ("a longer fence with other words", page(STORED, fence="````json").replace("````json", '````json title="x"', 1)),
    ("a block in a quotation", quoted(page(STORED, indent=2))),
    ("a block in a list", indented(page(STORED, indent=2))),
    ("a block that is never closed", "# Page\n\n```json\n" + json.dumps(STORED)),
    ("the same schema twice", page(STORED) + page(STORED, indent=2)),
    ("YAML in a page", f"# Page\n```yaml\n{yaml.safe_dump(STORED)}```\n"),
    ("JSON", json.dumps(STORED)),
    ("JSON with a byte order mark", "\ufeff" + json.dumps(STORED)),
    ("YAML", yaml.safe_dump(STORED)),
    ("YAML with statuses as numbers", yaml.safe_dump(STORED).replace("'200':", "200:")),
    ("line ends of Windows", page(STORED, indent=2).replace("\n", "\r\n")),
]


@pytest.mark.parametrize("text", [text for _, text in SHAPES], ids=[name for name, _ in SHAPES])
def test_the_schema_is_found_in_pages_and_files_of_any_form(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source").write_bytes(text.encode("utf-8"))

    assert run_update(tmp_path, str(tmp_path / "source")) == 0
    assert capsys.readouterr().out.startswith("gpt-image-1-5.json: unchanged\n")


def test_standard_input_is_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(page(changed(new_size)).encode())))

    assert run_update(tmp_path, "-") == 1
    assert 'request size: "2048x2048" is allowed now' in capsys.readouterr().out


def test_one_of_several_schemas_is_chosen_by_its_path(tmp_path: Path) -> None:
    other = copy.deepcopy(STORED)
    other["paths"] = {"/v1/images/edits": other["paths"][PATH]}
    text = page(STORED) + page(other)

    assert run_update(tmp_path, "--path", PATH, text=text) == 0
    assert find_schema(text, path="/v1/images/edits") == other
    with pytest.raises(SourceError, match="no OpenAPI document for /v1/nothing in it"):
        find_schema(text, path="/v1/nothing")


def chat() -> dict[str, Any]:
    document = schema("acme/chat", {})
    document["paths"] = {"/v1/chat/completions": document["paths"][PATH]}
    return document


def without_model() -> dict[str, Any]:
    return changed(lambda operation: fields_of(operation)["model"].pop("enum"))


def with_body(body: object) -> dict[str, Any]:
    return changed(lambda o: o["requestBody"]["content"]["application/json"].update(schema=body))


UNUSABLE: list[tuple[str, str, str]] = [
    ("nothing", " \n", "the source is empty"),
    ("prose", "# A page\n\nopenapi is nice.\n", "has no OpenAPI document in it"),
    ("other code", "```json\n{}\n```\n```python\nx\n```\n", "has no OpenAPI document in it"),
    ("an HTML error page", "<!DOCTYPE html><title>502 &amp; more</title>", "an HTML page titled '502 & more', and no"),
    ("HTML without a title", "\n<html><body>no</body></html>", "the source is an HTML page, and no schema"),
    ("half a page", page(STORED)[: page(STORED).index("quality")], "from line 16 on is not whole, or not JSON"),
    ("half a JSON file", json.dumps(STORED)[:900], "from line 1 on is not whole"),
    ("half a YAML file", "openapi: 3.0.0\npaths: {a: ", "from line 1 on is not whole"),
    ("an error in JSON", '{"message": "Not Found", "statusCode": 404}', "has no OpenAPI document in it"),
    ("a list", "[1, 2]", "has no OpenAPI document in it"),
    ("Swagger", '{"swagger": "2.0", "paths": {}}', "Swagger '2.0': only OpenAPI 3.x"),
    ("OpenAPI of tomorrow", '{"openapi": "4.0.0", "paths": {}}', "OpenAPI '4.0.0': only 3.x"),
    ("no paths", '{"openapi": "3.0.0"}', "describes no operation: it has no paths"),
    ("paths that are none", '{"openapi": "3.0.0", "paths": 5}', "describes no operation"),
    ("YAML aliases", "openapi: 3.0.0\na: &a [1]\nb: *a\n", "YAML aliases are not followed"),
    ("too deep", '{"openapi": "3.0.0", "a": ' + "[" * 100_000, "not whole, or not JSON"),
    ("several schemas", page(STORED) + page(chat()), r"2 schemas: choose one with --path or --model \(/v1/images/gen"),
    ("another kind of model", json.dumps(chat()), "not for an image model: it describes POST /v1/chat/completions"),
    ("another model", json.dumps(schema("acme/new", {})), "acme/new: no stored schema describes it; take --add"),
    ("no model", json.dumps(without_model()), "names no model for POST /v1/images/generations"),
    ("a request that is a list", json.dumps(with_body({"type": "array"})), "the request is no object with fields"),
    ("a reference to nothing", json.dumps(with_body({"$ref": "#/components/x"})), "leads nowhere: #/components/x"),
    ("a reference elsewhere", json.dumps(with_body({"$ref": "other.json#/x"})), "other.json#/x is outside"),
    ("contents that are none", json.dumps(changed(lambda o: o["requestBody"].update(content="x"))), "request is 'x'"),
    ("responses that are none", json.dumps(changed(lambda o: o.update(responses="x"))), "responses is 'x'"),
    (
        "a reference to itself",
        json.dumps({**STORED, "paths": {PATH: {"post": {"requestBody": {"$ref": "#/paths"}}}}}),
        "leads back to itself",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
def test_an_unusable_source_is_an_error_and_changes_nothing(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "source").write_text(text, encoding="utf-8")

    code = run_update(tmp_path, "--write", str(tmp_path / "source"))

    shown = capsys.readouterr()
    (tmp_path / "source").unlink()
    assert (code, shown.out) == (3, "")
    assert shown.err.startswith("update_schema: ")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(shown.err)
    assert contents(tmp_path) == before


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    (tmp_path / "large").write_bytes(b" " * (MAX_BYTES + 1))

    for source in ("missing.md", "image.png", "large"):
        assert run_update(tmp_path, str(tmp_path / source)) == 3

    shown = capsys.readouterr().err
    assert "missing.md cannot be read: No such file" in shown
    assert "image.png is not text in UTF-8" in shown
    assert "large has more than 16,777,216 bytes" in shown


# ---- Fetching


def test_the_stored_url_is_the_publishers_page() -> None:
    page = "https://docs.aimlapi.com/api-references/image-models/openai/gpt-image-1-mini-1.md"

    assert read_sources(ROOT / "openapi")["gpt-image-1-5.json"] == page


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, b"gone", "/page.md answers with HTTP 404 Not Found"),
        (503, b"", "/page.md answers with HTTP 503 Service Unavailable"),
        (200, b"<html><title>Log in</title></html>", "/page.md: the source is an HTML page titled 'Log in'"),
        (200, b"\xff\xfe", "/page.md is not text in UTF-8"),
        (302, b"/page.md", "/page.md: more than 5 redirects"),
        (302, b"http://docs.example.com/page.md", "http://docs.example.com/page.md: only HTTPS"),
    ],
)
def test_a_url_without_a_schema_is_an_error(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    status: int,
    body: bytes,
    message: str,
) -> None:
    with serve_pages() as pages:
        pages.answers["/page.md"] = (status, body)

        assert run_update(tmp_path, f"{pages.url}/page.md") == 3

    assert message in capsys.readouterr().err


def test_an_unreachable_url_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_update(tmp_path, "http://127.0.0.1:9/page.md") == 3
    assert run_update(tmp_path, "https://[bad/page.md") == 3

    shown = capsys.readouterr().err
    assert "http://127.0.0.1:9/page.md cannot be fetched" in shown
    assert "https://[bad/page.md is no address: Invalid IPv6 URL" in shown


def test_endless_responses_are_cut_off() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 1_000_000

    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=endless()))

    with pytest.raises(SourceError, match="answers with more than 16,777,216 bytes"):
        fetch("https://docs.example.com/page.md", transport=transport)
    with pytest.raises(SourceError, match="takes too long"):
        fetch("https://docs.example.com/page.md", transport=transport, seconds=1e-9)
