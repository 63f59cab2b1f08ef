"""Building the document, generating the client from it, and comparing the result with what is committed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import regenerate
from conftest import ROOT
from own_schema import stored_schemas
from published import changed, fields_of, schema
from schema_tools import SchemaError, generator, templates
from schema_tools.document import build_document
from schema_tools.generator import install, report_drift
from schema_tools.json_schema import request_schemas

COMMITTED = ROOT / "generated" / "aimlapi_rest"
OFFLINE = """
import sys
def refuse(event, arguments):
    if event == "socket.connect":
        raise OSError("no network here")
sys.addaudithook(refuse)
"""


@pytest.fixture
def openapi(tmp_path: Path) -> Path:
    """A copy of openapi/ to change."""
    return stored_schemas(tmp_path)


def test_the_committed_client_is_reproduced_offline_and_with_any_tools_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
    impostor = tmp_path / "bin" / "ruff"
    impostor.parent.mkdir()
    impostor.write_text("#!/bin/sh\necho 'the wrong ruff ran' >&2\nexit 1\n")
    impostor.chmod(0o755)
    monkeypatch.setenv("PATH", str(impostor.parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHASHSEED", "12345")

    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "regenerate.py"), "--check"], capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "files are what the schemas give" in done.stdout


def test_drift_is_shown_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = Path(shutil.copytree(COMMITTED, tmp_path / "aimlapi_rest"))
    assert report_drift(COMMITTED, package) == 0
    capsys.readouterr()
    (package / "errors.py").write_text("edited = True\n")
    (package / "py.typed").unlink()
    (package / "stale.py").write_text("")

    code = report_drift(COMMITTED, package)

    shown = capsys.readouterr().out
    assert code == 1
    assert "-edited = True" in shown
    assert "out of date in 3 files: errors.py, py.typed, stale.py" in shown
    assert "make generate" in shown


def test_installing_removes_stale_files(tmp_path: Path) -> None:
    package = Path(shutil.copytree(COMMITTED, tmp_path / "aimlapi_rest"))
    (package / "stale.py").touch()

    install(COMMITTED, package)

    assert not (package / "stale.py").exists()
    assert (package / "client.py").is_file()


def test_another_version_of_a_tool_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generator, "version", lambda name: "0.0.1")

    assert regenerate.main(["--check"]) == 2
    assert "openapi-python-client 0.29.1 is needed, here it is: 0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strength": {"type": "strengths"}}, "not valid OpenAPI 3.0"),
        ({"size": {"$ref": "#/nowhere"}}, "a $ref leads nowhere"),
        (
            {"size_type": {"type": "object", "properties": {}}, "sizeType": {"type": "object", "properties": {}}},
            "openapi_python_client generate failed",
        ),
    ],
)
def test_a_schema_that_gives_no_client_is_an_error(
    openapi: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], message: str
) -> None:
    document = changed(lambda operation: fields_of(operation).update(fields))
    (openapi / "gpt-image-1-5.json").write_text(json.dumps(document), encoding="utf-8")
    target = tmp_path / "generated" / "aimlapi_rest"
    target.mkdir(parents=True)
    (target / "kept.py").touch()

    code = regenerate.main(["--openapi", str(openapi), "--output", str(tmp_path / "generated")])

    assert code == 2
    assert message in capsys.readouterr().err
    assert (target / "kept.py").exists()


def test_missing_and_malformed_schemas_are_errors(openapi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (openapi / "gpt-image-1-5.json").write_text("{")
    assert regenerate.main(["--check", "--openapi", str(openapi)]) == 2
    (openapi / "gpt-image-1-5.json").write_text("[]")
    assert regenerate.main(["--check", "--openapi", str(openapi)]) == 2
    for file in openapi.glob("*.json"):
        file.unlink()
    assert regenerate.main(["--check", "--openapi", str(openapi)]) == 2
    (openapi / "sources.yaml").unlink()
    assert regenerate.main(["--check", "--openapi", str(openapi)]) == 2

    shown = capsys.readouterr().err
    assert "gpt-image-1-5.json is not JSON" in shown
    assert "gpt-image-1-5.json is not a JSON object" in shown
    assert "sources.yaml names gpt-image-1-5.json, and there is no such file" in shown
    assert "no schema (*.json) in" in shown


def test_a_schema_that_is_not_listed_is_an_error(openapi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (openapi / "flux.json").write_text(json.dumps(schema("acme/flux", {"prompt": {"type": "string"}})))

    assert regenerate.main(["--check", "--openapi", str(openapi)]) == 2
    assert "sources.yaml does not list flux.json. If AI/ML API published it, list it" in capsys.readouterr().err


def test_edits_follow_the_published_schema_where_it_has_the_field(openapi: Path) -> None:
    def edit(operation: dict[str, Any]) -> None:
        fields_of(operation)["size"]["enum"].append("2048x2048")
        fields_of(operation)["output_compression"]["maximum"] = 90
        del fields_of(operation)["response_format"]

    before = request_schemas(build_document(openapi).document)["edits"]["fields"]["properties"]
    (openapi / "gpt-image-1-5.json").write_text(json.dumps(changed(edit)), encoding="utf-8")

    schemas = request_schemas(build_document(openapi).document)

    generated, edited = schemas["generations"][0]["properties"], schemas["edits"]["fields"]["properties"]
    assert edited["size"]["enum"] == generated["size"]["enum"]
    assert (edited["size"]["enum"][-1], edited["output_compression"]["maximum"]) == ("2048x2048", 90)
    assert edited["size"]["description"] == before["size"]["description"]
    assert "x-api-default" not in edited["size"]
    for own in ("n", "prompt", "response_format"):
        assert edited[own] == before[own]


def test_the_generators_templates_are_those_that_the_changes_are_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "_CHANGES", {"types.py.jinja": {"no such text": ""}})

    with pytest.raises(SchemaError, match=r"types.py.jinja has no 'no such text'"):
        templates.write_templates(tmp_path / "templates")


def test_our_schemas_are_taken_as_they_are(openapi: Path) -> None:
    part = {"part": {"$ref": "#/components/schemas/Part"}}
    body = {"title": "Thing", "type": "object", "properties": part}
    operation = {
        "operationId": "make_thing",
        "requestBody": {"content": {"application/json": {"schema": body}}},
        "responses": {"200": {"description": "Done."}},
    }
    ours = {
        "openapi": "3.0.3",
        "info": {"title": "Ours", "version": "1", "x-handwritten": True},
        "paths": {"/v1/things": {"post": operation}},
        "components": {"schemas": {"Part": {"type": "object", "title": "Part"}}},
    }
    before = build_document(openapi).document["components"]["schemas"]["ImageGenerationRequest"]
    (openapi / "ours.json").write_text(json.dumps(ours), encoding="utf-8")

    built = build_document(openapi).document

    assert built["components"]["schemas"]["Thing"]["properties"] == part
    assert built["components"]["schemas"]["ImageGenerationRequest"] == before
    assert built["paths"]["/v1/things"]["post"]["operationId"] == "make_thing"
