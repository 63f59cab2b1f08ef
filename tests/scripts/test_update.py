"""Storing changed and new schemas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import update_schema
from published import PATH, STORED, changed, contents, fields_of, new_size, project, run_update, schema
from schema_tools.source import read_sources, write_sources


def test_writing_stores_the_schema_and_says_which_signatures_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(operation: dict[str, Any]) -> None:
        new_size(operation)
        fields_of(operation)["seed"] = {"type": "integer"}
        del fields_of(operation)["moderation"]

    document = changed(edit)

    code = run_update(tmp_path, "--write", document=document)

    shown = capsys.readouterr().out
    assert code == 2
    assert json.loads((tmp_path / "openapi/gpt-image-1-5.json").read_text(encoding="utf-8")) == document
    assert "  + ImageGenerationRequest.seed: int | Unset\n" in shown
    assert "  - ImageGenerationRequestModeration\n" in shown
    assert "1536x1024']  ->  ImageGenerationRequestSize = Literal['1024x1024'" in shown
    assert "  client.py imports ImageGenerationRequestModeration, which is gone\n" in shown
    assert "  ImageClient.generate has no argument for seed: until then, options= carries it\n" in shown
    assert "  ImageClient.generate has an argument for moderation, which is no field any more\n" in shown
    assert "seed: int | Unset" in (tmp_path / "generated/aimlapi_rest/models/image_generation_request.py").read_text()
    assert run_update(tmp_path, document=document) == 0


def test_without_write_nothing_is_written(tmp_path: Path) -> None:
    project(tmp_path)
    before = contents(tmp_path)

    assert run_update(tmp_path, document=changed(new_size)) == 1

    (tmp_path / "source").unlink()
    assert contents(tmp_path) == before


def test_an_unchanged_schema_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_update(tmp_path, "--write", document=STORED) == 0
    assert "signatures" not in capsys.readouterr().out


def test_a_schema_that_gives_no_client_leaves_everything_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path)
    before = contents(tmp_path)
    document = changed(lambda operation: fields_of(operation).update(size={"type": "sizes"}))

    assert run_update(tmp_path, "--write", document=document) == 3

    (tmp_path / "source").unlink()
    assert "not valid OpenAPI 3.0" in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "junk",
    [
        {"type": {}},
        {"type": [5]},
        {"enum": "x"},
        {"properties": 5},
        {"items": 5},
        {"anyOf": {}},
        {"required": [{}]},
        {"minimum": "x"},
        {"maxLength": []},
        {"description": {}},
        {"nullable": "yes"},
        {"additionalProperties": 5},
    ],
)
def test_a_keyword_that_makes_no_sense_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], junk: dict[str, Any]
) -> None:
    ((keyword, value),) = junk.items()

    code = run_update(tmp_path, document=changed(lambda operation: fields_of(operation).update(new=junk)))

    assert code == 1
    note = f"POST /v1/images/generations: request new has {value!r} as its {keyword}, which is left out"
    assert note in capsys.readouterr().out


def test_parameters_and_servers_that_make_no_sense_are_left_out(tmp_path: Path) -> None:
    document = changed(lambda operation: operation.update(parameters=[5, {"name": "x"}]))
    document["servers"].append({})

    assert run_update(tmp_path, document=document) == 0


PROMPT = {"prompt": {"type": "string"}}


@pytest.mark.parametrize(
    ("prepare", "document", "message"),
    [
        (lambda openapi: None, STORED, "gpt-image-1-5.json describes it already; take --write to change that"),
        (
            lambda openapi: (openapi / "sources.yaml").write_text("[1]"),
            schema("acme/new", PROMPT),
            "sources.yaml has to map file names to URLs",
        ),
        (
            lambda openapi: (openapi / "sources.yaml").write_text("gpt-image-1-5.json: 5"),
            schema("acme/new", PROMPT),
            "sources.yaml: gpt-image-1-5.json has to have a URL, or null",
        ),
        (
            lambda openapi: (openapi / "sources.yaml").write_text("a: ["),
            schema("acme/new", PROMPT),
            "sources.yaml is not YAML",
        ),
    ],
)
def test_a_schema_that_does_not_go_with_the_others_is_not_added(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prepare: Callable[[Path], object],
    document: dict[str, Any],
    message: str,
) -> None:
    openapi, _ = project(tmp_path)
    prepare(openapi)
    before = contents(openapi)

    assert run_update(tmp_path, "--add", document=document) == 3
    assert message in capsys.readouterr().err
    assert contents(openapi) == before


def test_two_paths_of_one_model_are_two_schemas(tmp_path: Path) -> None:
    assert run_update(tmp_path, "--add", document=schema("acme/new", PROMPT)) == 0
    with_url = schema("acme/new", PROMPT)
    with_url["paths"] = {f"{PATH}/with-url": with_url["paths"][PATH]}
    assert run_update(tmp_path, "--add", document=with_url) == 0

    assert [*read_sources(tmp_path / "openapi")] == [
        "gpt-image-1-5.json",
        "acme-new.json",
        "acme-new-generations-with-url.json",
    ]


def test_one_way_of_sending_is_not_mixed_with_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = schema("acme/form", PROMPT)
    content = document["paths"][PATH]["post"]["requestBody"]["content"]
    content["multipart/form-data"] = content.pop("application/json")

    assert run_update(tmp_path, "--add", document=document) == 3
    assert (
        "described by another schema already, and otherwise: application/json and multipart" in capsys.readouterr().err
    )


def test_two_sources_for_one_schema_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").write_text(json.dumps(STORED), encoding="utf-8")

    assert run_update(tmp_path, str(tmp_path / "other"), document=changed(new_size)) == 3
    assert "several sources for gpt-image-1-5.json" in capsys.readouterr().err


def test_adding_needs_a_source(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run_update(tmp_path, "--add")


def test_no_source_and_no_url_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    openapi, _ = project(tmp_path)
    write_sources(openapi, {"gpt-image-1-5.json": None})

    assert run_update(tmp_path) == 3
    assert "no URL is stored (sources.yaml): name a SOURCE" in capsys.readouterr().err


def test_a_usage_error_is_no_report(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        update_schema.main(["--wrte"])

    assert caught.value.code == 64
    assert "unrecognized arguments: --wrte" in capsys.readouterr().err
