"""Storing changed and new schemas."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import update_schema
from conftest import ROOT
from guides import blocks
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
from schema_tools.stored import read_sources, write_sources

PROMPT = {"prompt": {"type": "string"}}


def test_writing_stores_the_schema_of_a_stored_url_and_lists_changed_signatures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(operation: dict[str, Any]) -> None:
        new_size(operation)
        fields_of(operation)["seed"] = {"type": "integer"}
        del fields_of(operation)["moderation"]

    document = changed(edit)
    openapi, output = project(tmp_path)
    with serve_pages() as pages:
        write_sources(openapi, {"gpt-image-1-5.json": f"{pages.url}/moved.md"})
        pages.answers["/moved.md"] = (302, b"/page.md")
        pages.answers["/page.md"] = (200, page(document).encode())

        code = run_update(tmp_path, "--write")

        shown = capsys.readouterr().out
        assert code == 2
        assert json.loads((openapi / "gpt-image-1-5.json").read_text(encoding="utf-8")) == document
        assert read_sources(openapi) == {"gpt-image-1-5.json": f"{pages.url}/moved.md"}
        assert f"Compared with {pages.url}/moved.md." in shown
        assert "  + ImageGenerationRequest.seed: int | Unset\n" in shown
        assert "  - ImageGenerationRequestModeration\n" in shown
        assert "1536x1024']  ->  ImageGenerationRequestSize = Literal['1024x1024'" in shown
        assert "  client.py imports Moderation, which is gone\n" in shown
        assert "  ImageClient.generate has no argument for seed: until then, options= carries it\n" in shown
        assert "  ImageClient.generate has an argument for moderation, which is no field any more\n" in shown
        assert "seed: int | Unset" in (output / "aimlapi_rest/models/image_generation_request.py").read_text()
        assert run_update(tmp_path) == 0


def test_schemas_of_two_paths_of_one_model_are_added_and_keep_their_urls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_pages() as pages:
        openapi, _ = project(tmp_path)
        with_url = schema("acme/new", PROMPT)
        with_url["paths"] = {f"{PATH}/with-url": with_url["paths"][PATH]}
        pages.answers["/new.md"] = (200, page(schema("acme/new", PROMPT)).encode())

        assert run_update(tmp_path, "--add", f"{pages.url}/new.md", document=with_url) == 0
        pages.answers["/new.md"] = (200, page(schema("acme/newer", PROMPT)).encode())

        assert [*read_sources(openapi).items()][1:] == [
            ("acme-new.json", f"{pages.url}/new.md"),
            ("acme-new-generations-with-url.json", None),
        ]
        assert run_update(tmp_path, f"{pages.url}/new.md") == 2
        assert 'request model: "acme/new" is not allowed any more' in capsys.readouterr().out


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
def test_a_conflicting_schema_is_not_added(
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


def test_an_edit_schema_that_would_not_be_used_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = schema("acme/edit", PROMPT)
    document["paths"] = {"/v1/images/edits": document["paths"][PATH]}
    openapi, _ = project(tmp_path)
    before = contents(openapi)

    assert run_update(tmp_path, "--add", document=document) == 3

    assert "edits.json describes POST /v1/images/edits for every model" in capsys.readouterr().err
    assert contents(openapi) == before


def test_a_schema_beside_an_edit_schema_is_added_and_the_edits_are_left_to_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = schema("acme/both", PROMPT)
    document["paths"]["/v1/images/edits"] = document["paths"][PATH]

    assert run_update(tmp_path, "--add", document=document) == 0
    assert "POST /v1/images/edits is left to edits.json, for every model" in capsys.readouterr().out


def test_one_of_several_schemas_at_one_path_is_chosen_by_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page(changed(new_size)) + page(schema("acme/new", PROMPT))

    assert run_update(tmp_path, "--path", PATH, text=text) == 3
    assert (
        f"choose one with --path or --model ({PATH} for openai/gpt-image-1-5; {PATH} for acme/new)"
        in capsys.readouterr().err
    )
    assert run_update(tmp_path, "--model", "openai/gpt-image-1-5", text=text) == 1
    assert run_update(tmp_path, "--add", "--model", "acme/new", text=text) == 0
    assert "acme-new.json" in read_sources(tmp_path / "openapi")
    assert run_update(tmp_path, "--model", "acme/none", text=text) == 3
    assert "no OpenAPI document for acme/none in it" in capsys.readouterr().err


def test_a_stored_page_with_several_schemas_is_compared_by_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    openapi, _ = project(tmp_path)
    with serve_pages() as pages:
        write_sources(openapi, {"gpt-image-1-5.json": f"{pages.url}/page.md"})
        pages.answers["/page.md"] = (200, (page(schema("acme/new", PROMPT)) + page(changed(new_size))).encode())

        assert run_update(tmp_path) == 1

    assert capsys.readouterr().out.startswith("gpt-image-1-5.json: 1 additive\n")


def test_two_content_types_at_one_path_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_usage_error_exits_with_64(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        update_schema.main(["--wrte"])

    assert caught.value.code == 64
    assert "unrecognized arguments: --wrte" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_weekly_job_of_the_guide_opens_a_pull_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = (each.text for each in blocks("bash") if each.page == "docs/schema.md")
    work, bare, tools = tmp_path / "work", tmp_path / "origin.git", tmp_path / "tools"
    openapi, _ = project(work)
    shutil.copytree(ROOT / "scripts", work / "scripts", ignore=shutil.ignore_patterns("__pycache__", "bench"))
    shutil.copytree(ROOT / "src", work / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, work)
    tools.mkdir()
    (tools / "gh").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > gh.txt\n')
    (tools / "gh").chmod(0o755)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    author = {f"GIT_{who}_{what}": f"{who}@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **author, "PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "NO_PROXY": "127.0.0.1"}
    monkeypatch.delenv("GIT_DIR", raising=False)

    def shell(script: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with serve_pages() as pages:
        pages.answers["/page.md"] = (200, page(STORED).encode())
        write_sources(openapi, {"gpt-image-1-5.json": f"{pages.url}/page.md"})
        shell(f"git init -q -b main && git add . && git commit -q -m first && git init -q --bare '{bare}'")
        shell(f"git remote add origin '{bare}'")
        shell(job)
        assert not (work / "gh.txt").exists()

        pages.answers["/page.md"] = (200, page(changed(new_size)).encode())
        shell(job)

    assert (work / "gh.txt").read_text().startswith("pr\ncreate\n--title\nThe schema changed\n--body-file\nreport.md")
    assert "2048x2048" in (work / "report.md").read_text(encoding="utf-8")
    pushed = shell(f"git --git-dir '{bare}' log --all --format=%s --name-only").splitlines()
    assert pushed[0] == "Follow the published schema"
    assert "openapi/gpt-image-1-5.json" in pushed


def test_a_crash_does_not_pass_for_additive_changes() -> None:
    broken = "import runpy, sys; sys.argv[1:] = ['--write']; import schema_tools.update as u; u.compare_stored = None; "
    code = f"{broken}runpy.run_path({str(ROOT / 'scripts' / 'update_schema.py')!r}, run_name='__main__')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (70, "")
    assert "TypeError" in done.stderr
