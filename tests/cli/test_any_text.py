"""Any text as an option or an environment variable ends in a clean exit: no traceback, nothing unexpected."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import click
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aimlapi_images import cli, emulator
from conftest import KEY, PIXEL

# What a command line and an environment can hold: bytes that are not UTF-8 arrive as surrogates.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30) | st.binary(
    max_size=9
).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
NUMBERS = st.sampled_from(["nan", "inf", "-1", "0", "1e999", "1e-9", "9" * 50, "٣", "0x10", "true", "null", "{", "[1"])
CALLS = {
    "generate": ["x", "-o", "here/image", "--overwrite", "--attempts", "1"],
    "edit": ["x", "pixel.png", "-o", "here/image", "--overwrite", "--attempts", "1"],
    "balance": [],
    "logs": [],
    "batch": ["jobs.txt", "--out", "here/batch", "--quiet", "--attempts", "1"],
    "reconcile": ["here"],
    "results": ["here"],
    "emulator": [],
}
OPTIONS = [
    (name, option)
    for name in CALLS
    for param in cli.command.commands[name].get_params(click.Context(cli.command.commands[name]))
    for option in param.opts
    if isinstance(param, click.Option) and not param.is_flag and not param.count and option.startswith("--")
]
VARIABLES = (
    *("AIMLAPI_API_KEY", "AIML_API_KEY", "AIMLAPI_API_BASE", "AIML_API_BASE", "_AIMLAPI_IMAGES_COMPLETE"),
    *("HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("TMPDIR", "HOME", "TERM", "COLUMNS", "LANG"),
)
SETTINGS = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pytestmark = pytest.mark.filterwarnings("always")


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request of a client with default settings is answered by an emulator in this process."""
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    Path("pixel.png").write_bytes(PIXEL)
    Path("jobs.txt").write_text("a fox\n", encoding="utf-8")
    monkeypatch.setattr(emulator, "run", lambda *_, **__: iter(()))  # which would serve until Ctrl-C
    monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
    answering = emulator.transport(emulator.create_app(drawing="plain"))

    async def answer(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return await answering.handle_async_request(request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)


def run(*arguments: str, stdin: bytes = b"") -> int:
    """Run the command. Returns its exit code, after checks that hold for any input."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        for name, stream in (("stdin", io.TextIOWrapper(io.BytesIO(stdin))), ("stdout", out), ("stderr", err)):
            patched.setattr(f"sys.{name}", stream)
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments])
    assert isinstance(ended.value.code, int)
    assert "unexpected error" not in err.getvalue()
    assert all(line.startswith("aimlapi-images: ") for line in err.getvalue().splitlines())
    assert not err.getvalue() or err.getvalue().isprintable() or "\n" in err.getvalue()
    if "--json" in arguments:
        assert all(json.loads(line) is not None for line in out.getvalue().splitlines())
    return ended.value.code


@SETTINGS
@given(st.sampled_from(OPTIONS), TEXT | NUMBERS, st.sampled_from([(), ("--json",)]))
def test_any_text_as_an_option(option: tuple[str, str], text: str, more: tuple[str, ...]) -> None:
    name, flag = option
    if flag in ("--output", "--out"):
        text = "here/" + text.replace("/", "")  # nowhere else
    call = [word for word in CALLS[name] if flag != "--prompt" or word != "x"]

    code = run(name, *call, f"{flag}={text}", *(more if name not in ("reconcile", "results", "emulator") else ()))

    assert code in (0, 2, 3, 4) or (name == "batch" and code in (1, 5))


@SETTINGS
@given(st.sampled_from(["generate", "edit"]), TEXT | NUMBERS)
def test_any_text_as_a_prompt(name: str, text: str) -> None:
    code = run(name, "-o", "here/image", "--overwrite", "--", text, *(["pixel.png"] if name == "edit" else []))

    assert code in (0, 2)


@SETTINGS
@given(st.binary(max_size=50))
def test_any_bytes_on_standard_input(data: bytes) -> None:
    assert run("generate", "-", "-o", "here/image", "--overwrite", stdin=data) in (0, 2)
    assert run("edit", "x", "-", "-o", "here/image", "--overwrite", stdin=data) == 2


@SETTINGS
@given(st.sampled_from(VARIABLES), TEXT | NUMBERS, st.sampled_from(list(CALLS)))
def test_any_text_as_an_environment_variable(variable: str, text: str, name: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(os.environ, variable, text)
        if variable in ("AIML_API_KEY", "AIML_API_BASE"):
            patched.delenv(variable.replace("AIML", "AIMLAPI"), raising=False)
        code = run(name, *CALLS[name])

    assert code in (0, 2, 3, 4) or (name == "batch" and code in (1, 5))
