"""The command line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aimlapi_images import cli, emulator
from aimlapi_images.cli.fields import option_type
from aimlapi_images.cli.report import free_name
from aimlapi_images.orders import schema
from conftest import KEY, PIXEL, PIXEL_ANSWER


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, *capsys.readouterr()


def size_of(path: str | Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_it_makes_an_image(
    capsys: pytest.CaptureFixture[str], emulator_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMLAPI_API_KEY", KEY)

    code, out, err = run(
        capsys, "generate", "A fox", "-o", "fox", "--size", "1536x1024", "--base-url", f"{emulator_url}/v1"
    )

    assert (code, err) == (0, "")
    assert re.fullmatch(r"fox\.png  \(1536x1024 png, [\d,]+ bytes, [\d.]+ s, \$0\.0500\)\n", out)
    assert size_of("fox.png") == (1536, 1024)


def test_the_emulator_needs_one_option_only(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "generate", "A fox, asleep", "--emulator")

    assert code == 0
    assert out.startswith("a-fox-asleep.png  ")
    assert out.endswith("emulated, free)\n")


def test_a_name_from_the_prompt_avoids_existing_files(capsys: pytest.CaptureFixture[str]) -> None:
    Path("fox.png").write_text("precious")

    for _ in range(2):
        code, _, _ = run(capsys, "generate", "fox", "--emulator", "--output-format", "webp")
        assert code == 0

    assert sorted(path.name for path in Path().iterdir()) == ["fox-2.webp", "fox-3.webp", "fox.png"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("A T-Rex, relaxing!", "a-t-rex-relaxing"),
        ("Ein Füchslein", "ein-füchslein"),
        ("../../etc/passwd", "etc-passwd"),
        ("…", "image"),
        ("con", "con-image"),
        ("x" * 200, "x" * 60),
        ("taken", "taken-3"),
    ],
)
def test_a_free_name_is_safe_and_not_taken(tmp_path: Path, words: str, expected: str) -> None:
    (tmp_path / "taken.png").touch()
    (tmp_path / "Taken-2.webp").touch()

    assert free_name(tmp_path, words) == tmp_path / expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-o", "fox.jpeg"], "fox.jpeg"),
        (["-o", "fox.webp"], "fox.webp"),
        (["-o", "fox.gif", "--output-format", "png"], "fox.png"),
        (["-o", "fox.jpg", "--output-format", "webp"], "fox.webp"),
    ],
)
def test_the_extension_selects_the_format(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    code, _, _ = run(capsys, "generate", "A fox", "--emulator", *arguments)

    assert code == 0
    assert [path.name for path in Path().iterdir()] == [expected]


def test_the_command_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)

    assert (code, err) == (2, "")
    assert "Commands:\n  balance " in out


def test_every_image_of_an_order_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save("day.png")
    three = ["edit", "day.png", "--prompt", "night", "--n", "3", "--emulator", "-o"]

    _, lines, _ = run(capsys, *three, "night")
    _, known, _ = run(capsys, *three, "later", "--json")

    assert [line.partition("  ")[0] for line in lines.splitlines()] == ["night.png", "night-2.png", "night-3.png"]
    assert [other["path"] for other in json.loads(known)["others"]] == ["later-2.png", "later-3.png"]


def test_json_output_has_all_details(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(
        capsys, "generate", "A fox", "--emulator", "--json", "--background", "transparent", "--n", "1",
        "--output-compression", "50", "--quality", "low", "--moderation", "low", "--response-format", "b64_json",
    )  # fmt: skip

    known = json.loads(out)
    assert known["path"] == "a-fox.png"
    assert (known["format"], known["width"], known["height"]) == ("png", 1024, 1024)
    assert known["bytes"] == Path("a-fox.png").stat().st_size
    assert known["parameters"] == {
        "model": "openai/gpt-image-1-5",
        "background": "transparent",
        "moderation": "low",
        "n": 1,
        "output_compression": 50,
        "quality": "low",
        "response_format": "b64_json",
    }
    assert (known["credits_used"], known["usd_spent"], known["attempts"]) == (18_000, 0.009, 1)
    assert known["emulated"] is True


def test_every_field_of_the_schema_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "generate", "--help")

    words = " ".join(out.split())
    assert code == 0
    for name, field in schema.request("generations")["properties"].items():
        assert f"--{name.replace('_', '-')}" in words or name == "prompt"
        if "enum" in field and name != "model":
            assert f"[{'|'.join(map(str, field['enum']))}]" in words
    assert "[the API's default: 1024x1024]" in words
    assert "0<=x<=100" in words
    assert "Exit codes: 0 success" in words


def test_the_help_for_a_model_without_a_schema_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    said = "No schema is stored for acme/new: `--field NAME=VALUE` is sent unchecked, and the other options"

    _, unknown, _ = run(capsys, "generate", "--model", "acme/new", "--help")
    _, known, _ = run(capsys, "generate", "--model", "openai/gpt-image-1-5", "--help")
    _, plain, _ = run(capsys, "generate", "--help")

    assert said in " ".join(unknown.split())
    assert "--size" in unknown
    assert "No schema is stored" not in known + plain


@pytest.mark.parametrize(
    ("field", "given", "expected"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 9}, "7", 7),
        ({"type": "number", "minimum": 0.5}, "0.75", 0.75),
        ({"type": "boolean"}, "true", True),
        ({"type": "string"}, "words", "words"),
        ({"enum": [1, 2]}, "2", 2),
        ({"anyOf": [{"type": "object"}, {"type": "string"}]}, '{"width": 1}', {"width": 1}),
        ({"anyOf": [{"type": "object"}, {"type": "string"}]}, "square", "square"),
        ({"type": "array"}, " [1]", [1]),
        ({"type": ["integer", "null"]}, "7", 7),
        ({"type": ["string", "null"], "enum": ["a", None]}, "a", "a"),
        ({"type": ["integer", "string"]}, "7", "7"),
        ({}, "words", "words"),
    ],
)
def test_options_follow_the_type_of_their_field(field: dict[str, object], given: str, expected: object) -> None:
    assert option_type(field).convert(given, None, None) == expected


@pytest.mark.parametrize(
    ("field", "metavar"),
    [
        ({"type": "integer"}, "INTEGER"),
        ({"type": "integer", "minimum": 1, "maximum": None}, "INTEGER RANGE [x>=1]"),
        ({"type": "number"}, "FLOAT"),
        ({"type": "integer", "minimum": 1}, "INTEGER RANGE [x>=1]"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "FLOAT RANGE [0<x<=1]"),
        ({"type": "integer", "enum": [1080, 720, None]}, "[720|1080]"),
        ({"type": "string", "enum": ["low", "high"]}, "[low|high]"),
        ({"type": "string", "enum": ["16:9", "1:1", "4:3"]}, "[1:1|4:3|16:9]"),
        ({"type": "string", "enum": ["1024x1024", "auto", "512x512"]}, "[auto|512x512|1024x1024]"),
        ({"type": ["string", "integer"], "enum": ["10", 5, "0.5"]}, "[0.5|5|10]"),
        ({"type": "integer", "minimum": None, "maximum": None}, "INTEGER"),
    ],
)
def test_the_help_shows_what_an_option_accepts(field: dict[str, object], metavar: str) -> None:
    command = click.Command("x", params=[click.Option(["--value"], type=option_type(field))])

    assert f"--value {metavar} --help" in " ".join(command.get_help(click.Context(command)).split())


def test_an_option_that_begins_like_json_has_to_be_valid_json() -> None:
    with pytest.raises(click.BadParameter, match="is not JSON"):
        option_type({"type": "array"}).convert("[1", None, None)


USAGE: list[tuple[list[str], str]] = [
    ([], "Missing argument 'PROMPT'"),
    (["x", "--size", "1x1"], "'1x1' is not one of '1024x1024', '1024x1536', '1536x1024'"),
    (["x", "--output-compression", "101"], "101 is not in the range 0<=x<=100"),
    (["x", "--colour", "red"], "No such option"),
    (["x", "--field", "seed"], "'seed' is not NAME=VALUE"),
    (["x", "--emulator", "--field", "stream=true"], "cannot set stream: then the API would answer with a stream"),
    (["", "--emulator"], "prompt is empty"),
    (["x" * 32_001, "--emulator"], "prompt must have at most 32,000 characters"),
    (["x", "--emulator", "--background", "transparent", "--output-format", "jpeg"], "needs output_format"),
    (["x", "--emulator", "-o", "missing/x.png"], "the folder does not exist: missing"),
    (
        ["x", "--emulator", "-o", "x.gif"],
        "x.gif: openai/gpt-image-1-5 cannot make gif, only png, jpeg, webp",
    ),
    (["x", "--emulator", "-o", "there.png"], "the file already exists: there.png"),
    (["x", "--emulator", "--timeout", "0"], "timeout must be"),
    (["x"], "no API key: set AIMLAPI_API_KEY (or AIML_API_KEY)"),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE)
def test_a_usage_error_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("there.png").write_text("precious")

    code, out, err = run(capsys, "generate", *arguments)

    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("aimlapi-images: ")
    assert err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["there.png"]


@pytest.mark.parametrize(
    ("status", "expected"), [(400, 3), (401, 3), (403, 3), (404, 3), (429, 3), (500, 4), (503, 4), (524, 4)]
)
def test_exit_codes_distinguish_refusals_from_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, status: int, expected: int
) -> None:
    async def refuse(request: Request) -> Response:
        return JSONResponse({"message": "No,\nreally not."}, status_code=status, headers={"Retry-After": "500"})

    monkeypatch.setenv("AIML_API_KEY", KEY)
    app = Starlette(routes=[Route("/v1/images/generations", refuse, methods=["POST"])])
    with emulator.serve(app) as running:
        code, out, err = run(capsys, "generate", "x", "--base-url", running.base_url, "--attempts", "1")

    assert (code, out) == (expected, "")
    assert err.startswith(f"aimlapi-images: HTTP {status}: No, really not. (")
    assert err.count("\n") == 1
    assert list(Path().iterdir()) == []


@pytest.mark.filterwarnings("always")
def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIML_API_KEY", KEY)

    _, _, err = run(capsys, "generate", "x", "-o", "x.gif", "--base-url", "http://gateway.corp")

    warning, error = err.splitlines()
    assert warning.startswith("aimlapi-images: the API key is sent to gateway.corp unencrypted: ")
    assert error.startswith("aimlapi-images: x.gif: ")


def test_no_connection_is_exit_code_4(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIML_API_KEY", KEY)
    with emulator.serve() as running:
        pass

    code, _, err = run(capsys, "generate", "x", "--base-url", running.base_url, "--attempts", "1")

    assert code == 4
    assert err.startswith("aimlapi-images: not sent, no connection to 127.0.0.1:")


def test_another_model_is_sent_unchecked(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "generate", "x", "--emulator", "--model", "acme/new")

    assert code == 3
    assert "There is no model 'acme/new'" in err


def test_every_paid_image_that_cannot_be_written_is_rescued(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def remove_the_folder(request: Request) -> Response:
        (tmp_path / "there").rmdir()
        return JSONResponse({"data": PIXEL_ANSWER["data"] * 2})

    for name in ("there", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("AIML_API_KEY", KEY)
    app = Starlette(routes=[Route("/v1/images/generations", remove_the_folder, methods=["POST"])])
    with emulator.serve(app) as running:
        code, _, err = run(capsys, "generate", "x", "-o", "there/fox", "--base-url", running.base_url)

    rescued = sorted((tmp_path / "elsewhere").iterdir())
    assert code == 2
    assert [size_of(path) for path in rescued] == [(1, 1), (1, 1)]
    assert all(f"the data is rescued as {path}" in err for path in rescued)
    assert [path.suffix for path in rescued] == [".png", ".png"]


def test_a_paid_image_that_cannot_be_written_is_rescued(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def take_the_name(request: Request) -> Response:
        (tmp_path / "fox.png").write_text("somebody else's")
        return JSONResponse(PIXEL_ANSWER)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    monkeypatch.setenv("AIML_API_KEY", KEY)
    app = Starlette(routes=[Route("/v1/images/generations", take_the_name, methods=["POST"])])
    with emulator.serve(app) as running:
        code, _, err = run(capsys, "generate", "x", "-o", "fox", "--base-url", running.base_url)

    (rescued,) = elsewhere.iterdir()
    assert code == 2
    assert f"the data is rescued as {rescued}" in err
    assert size_of(rescued) == (1, 1)


def test_the_part_of_an_image_that_a_failed_download_brought_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def generate(request: Request) -> Response:
        return JSONResponse({"data": [{"url": f"{request.base_url}cut"}]})

    async def cut(request: Request) -> Response:
        return Response(PIXEL[:40])

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("AIML_API_KEY", KEY)
    routes = [Route("/v1/images/generations", generate, methods=["POST"]), Route("/cut", cut)]
    with emulator.serve(Starlette(routes=routes)) as running:
        code, _, err = run(capsys, "generate", "x", "-o", "fox", "--attempts", "1", "--base-url", running.base_url)

    (kept,) = tmp_path.iterdir()
    assert code == 4
    assert f"the data is rescued as {kept}" in err
    assert kept.read_bytes() == PIXEL[:40]


# A shell starts background jobs with SIGINT ignored, and children inherit that: restore Python's default.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores
from aimlapi_images.cli import main
main()
"""
PATIENCE = 120  # seconds; only a test that fails waits for so long


def command(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    script = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_the_emulator_prints_client_settings_and_stops_on_ctrl_c(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with command("emulator", "--port", "0") as server:
        assert server.stdout
        greeting = server.stdout.readline()
        url = greeting.split()[4].rstrip(".")
        lines = [server.stdout.readline() for _ in range(6)]

        monkeypatch.setenv("AIMLAPI_API_KEY", "emulator")
        monkeypatch.setenv("AIMLAPI_API_BASE", url)
        code, out, _ = run(capsys, "generate", "A fox")
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=PATIENCE)

    assert f'ImageClient(api_key="emulator", base_url="{url}")' in "".join(lines)
    assert f"export AIMLAPI_API_BASE={url} AIMLAPI_API_KEY=emulator" in "".join(lines)
    assert f'base_url="{url}/v1"' in "".join(lines)
    assert (code, out.split()[0]) == (0, "a-fox.png")
    assert (server.returncode, err) == (0, "")


def test_a_taken_port_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with emulator.serve() as running:
        port = running.base_url.rsplit(":", 1)[1]
        code, _, err = run(capsys, "emulator", "--port", port)

    assert code == 2
    assert err == f"aimlapi-images: cannot listen at 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_waiting_is_one_line(monkeypatch: pytest.MonkeyPatch, sent: signal.Signals) -> None:
    arrived = threading.Event()

    async def never(request: Request) -> Response:
        arrived.set()
        await asyncio.Event().wait()
        return Response()

    app = Starlette(routes=[Route("/v1/images/generations", never, methods=["POST"])])
    with emulator.serve(app) as running:
        monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
        with command("generate", "x", "--base-url", running.base_url) as waiting:
            assert arrived.wait(PATIENCE)
            waiting.send_signal(sent)
            out, err = waiting.communicate(timeout=PATIENCE)

    assert (waiting.returncode, out) == (130, "")
    assert re.fullmatch(r"aimlapi-images: interrupted: order [0-9a-f]{32} was in flight and may be billed: .*\n", err)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])

    assert not exit_.value.code
    assert re.fullmatch(r"aimlapi-images \d+\.\d+\.\d+\n", capsys.readouterr().out)
