"""Generating the client: what is committed, drift, and schemas that give no client."""

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
from published import PATH
from schema_tools import generator
from schema_tools.generator import build_document, generate


@pytest.fixture
def openapi(tmp_path: Path) -> Path:
    """A copy of openapi/ to change."""
    return Path(shutil.copytree(ROOT / "openapi", tmp_path / "openapi"))


def change(openapi: Path, edit: Any) -> None:
    file = openapi / "gpt-image-1-5.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    edit(schema["paths"][PATH]["post"])
    file.write_text(json.dumps(schema), encoding="utf-8")


def fields(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    return found


def test_what_is_committed_is_what_the_schemas_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert regenerate.main(["--check"]) == 0
    assert "files are what the schemas give" in capsys.readouterr().out


def test_drift_is_shown_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = Path(shutil.copytree(ROOT / "generated", tmp_path / "generated"))
    package = output / "aimlapi_rest"
    (package / "errors.py").write_text("edited = True\n")
    (package / "py.typed").unlink()
    (package / "stale.py").write_text("")

    code = regenerate.main(["--check", "--output", str(output)])

    shown = capsys.readouterr().out
    assert code == 1
    assert "-edited = True" in shown
    assert "out of date in 3 files: errors.py, py.typed, stale.py" in shown
    assert "make generate" in shown


def test_stale_files_go(tmp_path: Path) -> None:
    stale = tmp_path / "generated" / "aimlapi_rest" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.touch()

    assert regenerate.main(["--output", str(tmp_path / "generated")]) == 0
    assert not stale.exists()


def test_a_formatter_on_the_path_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    impostor = tmp_path / "bin" / "ruff"
    impostor.parent.mkdir()
    impostor.write_text("#!/bin/sh\necho 'the wrong ruff ran' >&2\nexit 1\n")
    impostor.chmod(0o755)
    monkeypatch.setenv("PATH", str(impostor.parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONHASHSEED", "12345")

    assert regenerate.main(["--check"]) == 0


def test_another_version_of_a_tool_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generator, "version", lambda name: "0.0.1")

    assert regenerate.main(["--check"]) == 2
    assert "openapi-python-client 0.29.1 is needed, here it is: 0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda operation: fields(operation).update(strength={"type": "strengths"}), "not valid OpenAPI 3.0"),
        (lambda operation: fields(operation)["size"].update({"$ref": "#/nowhere"}), "a $ref leads nowhere"),
        (
            lambda operation: fields(operation).update(
                size_type={"type": "object", "properties": {}}, sizeType={"type": "object", "properties": {}}
            ),
            "openapi_python_client generate failed",
        ),
    ],
)
def test_a_schema_that_gives_no_client_is_an_error(
    openapi: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Any, message: str
) -> None:
    change(openapi, edit)
    target = tmp_path / "generated" / "aimlapi_rest"
    target.mkdir(parents=True)
    (target / "kept.py").touch()

    code = regenerate.main(["--openapi", str(openapi), "--output", str(tmp_path / "generated")])

    assert code == 2
    assert message in capsys.readouterr().err
    assert (target / "kept.py").exists()


def test_no_schema_and_no_json_are_errors(openapi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (openapi / "gpt-image-1-5.json").write_text("{")
    assert regenerate.main(["--check", "--openapi", str(openapi)]) == 2
    (openapi / "gpt-image-1-5.json").write_text("[]")
    assert regenerate.main(["--check", "--openapi", str(openapi)]) == 2
    for schema in openapi.glob("*.json"):
        schema.unlink()
    assert regenerate.main(["--check", "--openapi", str(openapi)]) == 2
    (openapi / "sources.yaml").unlink()
    assert regenerate.main(["--check", "--openapi", str(openapi)]) == 2

    shown = capsys.readouterr().err
    assert "gpt-image-1-5.json is not JSON" in shown
    assert "gpt-image-1-5.json is not a JSON object" in shown
    assert "sources.yaml names gpt-image-1-5.json, and there is no such file" in shown
    assert "no schema (*.json) in" in shown


def test_schemas_of_ours_stand_beside_the_published_ones_as_they_are(openapi: Path, tmp_path: Path) -> None:
    ours = {
        "openapi": "3.0.3",
        "info": {"title": "Ours", "version": "1"},
        "paths": {
            "/v1/things": {
                "post": {
                    "operationId": "make_thing",
                    "tags": ["things"],
                    "requestBody": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "title": "Thing",
                                    "type": "object",
                                    "properties": {"part": {"$ref": "#/components/schemas/Part"}},
                                }
                            }
                        }
                    },
                    "responses": {"200": {"description": "Done."}},
                }
            }
        },
        "components": {"schemas": {"Part": {"type": "object", "title": "Part"}}},
    }
    (openapi / "ours.json").write_text(json.dumps(ours), encoding="utf-8")

    built = build_document(openapi)
    generate(openapi, tmp_path / "out" / "aimlapi_rest")

    thing = built.document["components"]["schemas"]["Thing"]
    assert thing["properties"] == {"part": {"$ref": "#/components/schemas/Part"}}
    assert built.document["paths"]["/v1/things"]["post"]["operationId"] == "make_thing"
    assert (tmp_path / "out/aimlapi_rest/api/things/make_thing.py").is_file()
    committed = (ROOT / "generated/aimlapi_rest/models/image_generation_request.py").read_text(encoding="utf-8")
    made = (tmp_path / "out/aimlapi_rest/models/image_generation_request.py").read_text(encoding="utf-8")
    assert made == committed


OFFLINE = """
import sys
def refuse(event, arguments):
    if event == "socket.connect":
        raise OSError("no network here")
sys.addaudithook(refuse)
"""


def test_it_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "regenerate.py"), "--check"], capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
