"""From the published schema to the client: corrections, merging, and the way back when something changed."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator

import document
import regenerate
from conftest import ROOT
from document import build_document, merge
from inlining import SchemaError
from mending import mend
from overlay import OverlayError, apply_overlay

PUBLISHED: dict[str, Any] = json.loads((ROOT / "openapi" / "gpt-image-1-5.json").read_text(encoding="utf-8"))
OVERLAY: dict[str, Any] = yaml.safe_load((ROOT / "openapi" / "overlay.yaml").read_text(encoding="utf-8"))
PATH = "/v1/images/generations"
# For what this schema does not have, and others of the publisher's do.
FOR_OTHER_SCHEMAS = (".n", ".num_images", "schema.required", "[?@['201'] && !@['200']]", "[Aa]uthorization')]")


def overlay(*actions: dict[str, Any]) -> dict[str, Any]:
    return {
        "overlay": "1.0.0",
        "info": {"title": "t", "version": "1"},
        "actions": [{"description": "why", **action} for action in actions],
    }


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


# ---- The overlay


def test_the_published_schema_is_invalid_and_the_corrected_one_is_not() -> None:
    assert list(OpenAPIV30SpecValidator(PUBLISHED).iter_errors())
    assert not list(OpenAPIV30SpecValidator(build_document(ROOT / "openapi").document).iter_errors())


def test_every_correction_of_ours_says_why_and_takes_effect() -> None:
    before = mend(PUBLISHED, "gpt-image-1-5").document
    for action in OVERLAY["actions"]:
        after = apply_overlay(before, {**OVERLAY, "actions": [action]})
        # Some documents have their content or an answer already: the action has to take effect without, too.
        if not action["target"].endswith(FOR_OTHER_SCHEMAS) and "at all" not in action["description"]:
            assert after != before, action["target"]
        before = after


def test_an_update_merges_objects_extends_arrays_and_replaces_values() -> None:
    before = {"a": {"b": 1, "c": {"d": [1]}}, "e": [{"f": 1}, {"f": 2}]}

    after = apply_overlay(
        before,
        overlay(
            {"target": "$.a", "update": {"b": 2, "c": {"d": [2], "new": True}}},
            {"target": "$.e", "update": {"f": 3}},
            {"target": "$.e[?@.f == 2]", "update": {"g": 1}},
            {"target": "$.nothing.here", "update": {"x": 1}},
        ),
    )

    assert after == {"a": {"b": 2, "c": {"d": [1, 2], "new": True}}, "e": [{"f": 1}, {"f": 2, "g": 1}, {"f": 3}]}
    assert before["e"] == [{"f": 1}, {"f": 2}]


def test_a_removal_takes_out_all_that_it_selects() -> None:
    before = {"a": {"x": 1, "y": {"x": 2}}, "list": [1, 2, 3, 2]}

    after = apply_overlay(
        before, overlay({"target": "$..x", "remove": True}, {"target": "$.list[?@ == 2]", "remove": True})
    )

    assert after == {"a": {"y": {}}, "list": [1, 3]}


def test_updates_do_not_share_what_they_add() -> None:
    after = apply_overlay({"a": {}, "b": {}}, overlay({"target": "$.*", "update": {"new": {"list": []}}}))
    after["a"]["new"]["list"].append(1)

    assert after["b"] == {"new": {"list": []}}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({}, "not an Overlay 1.0 document"),
        ({**overlay(), "overlay": "2.0.0"}, "not an Overlay 1.0 document: overlay is '2.0.0'"),
        (overlay(), "at least one entry"),
        ({**overlay(), "actions": [{"description": "why", "remove": True}]}, "action 1 has no target"),
        (overlay({"target": "$.a", "udpate": {}}), "action 1 has unknown keys: udpate"),
        (overlay({"target": "$.a", "remove": True, "description": ""}), "does not say why"),
        (overlay({"target": "$.a"}), "needs either update or remove"),
        (overlay({"target": "$.a", "update": {}, "remove": True}), "needs either update or remove"),
        (overlay({"target": "$.a[?", "remove": True}), r"action 1 \(\$\.a\[\?\)"),
        (overlay({"target": "$", "remove": True}), "the root of the document cannot be removed"),
        (overlay({"target": "$.a", "update": {"x": 1}}), "update selects a int"),
        (overlay({"target": "$", "update": {200: {}}}), "the key 200 is not a string: quote it"),
    ],
)
def test_a_broken_overlay_says_which_action_and_why(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(OverlayError, match=message):
        apply_overlay({"a": 1}, broken)


# ---- Merging


def test_documents_that_agree_are_merged() -> None:
    a = {"paths": {"/a": {"get": {}}}, "servers": [{"url": "u"}], "components": {"schemas": {"E": {"type": "object"}}}}
    b = {"paths": {"/b": {"get": {}}, "/a": {"post": {}}}, "servers": [{"url": "u"}], "components": a["components"]}

    merged = merge({"a": a, "b": b})

    assert merged["paths"] == {"/a": {"get": {}, "post": {}}, "/b": {"get": {}}}
    assert merged["servers"] == [{"url": "u"}]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"paths": {"/a": {"get": {}}}}, "a and b both describe get /a"),
        ({"components": {"schemas": {"E": {"type": "string"}}}}, "b: components/schemas/E differs"),
    ],
)
def test_documents_that_contradict_each_other_are_not(second: dict[str, Any], message: str) -> None:
    first = {"paths": {"/a": {"get": {}}}, "components": {"schemas": {"E": {"type": "object"}}}}

    with pytest.raises(SchemaError, match=message):
        merge({"a": first, "b": second})


def test_two_bodies_under_one_title_are_an_error() -> None:
    schema = copy.deepcopy(PUBLISHED)
    operation = schema["paths"][PATH]["post"]
    operation["responses"]["200"]["content"]["application/json"]["schema"]["title"] = "openai/gpt-image-1-5"

    with pytest.raises(SchemaError, match=r"x: two different bodies are titled openai/gpt-image-1-5 .*post /v1/images"):
        document.promote_titles(schema, "x")


# ---- The script


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
    monkeypatch.setattr(regenerate, "version", lambda name: "0.0.1")

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
    regenerate.generate(openapi, tmp_path / "out" / "aimlapi_rest")

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
