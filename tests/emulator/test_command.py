"""`aimlapi-images emulator`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from aimlapi_images import cli
from aimlapi_images.emulator import FAULTS, Settings

COMMAND = "import sys\nfrom aimlapi_images.cli import main\nmain(sys.argv[1:])"
BODY = {"model": "openai/gpt-image-1-5", "prompt": "A fox"}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["emulator", *arguments])
    return exit_.value.code, *capsys.readouterr()


def test_help_lists_all_faults_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")

    words = " ".join(out.split())
    assert code == 0
    for fault in FAULTS.values():
        assert f"{fault.kind} {fault.happens}" in words
        assert f"Client: {fault.client}." in words
    for name in set(Settings.__annotations__) - {"faults", "account_rpm"}:
        assert f"--{name.replace('_', '-')}" in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "boom:0.1"], "there is no fault 'boom'; the kinds are content_policy, "),
        (["--fault", "cut_body:2"], "'cut_body:2' is not KIND:RATE with a rate from 0 to 1"),
        (["--fault", "cut_body:0.9", "--fault", "late_url:0.9"], "the rates of faults must not exceed 1 together"),
        (["--retry-after", "soon"], "'soon' is not a valid float"),
        (["--api-key", ""], "api_key must be a non-empty string"),
        (["--host", "no.such.host.invalid"], "cannot listen at no.such.host.invalid:8400: "),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, out, err = run(capsys, *arguments)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert "Unknown error" not in err


@contextmanager
def started(*arguments: str) -> Iterator[str]:
    """Run the command in a process of its own, and end it with Ctrl-C. Yields its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", COMMAND, "emulator", "--port", "0", *arguments],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = re.search(r"listens at (\S+)\. ", process.stdout.readline())
        assert found
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_settings_reach_the_server() -> None:
    options = ["--api-key", "the-key", "--rpm", "1", "--retry-after", "none", "--fault", "wrong_format", "--seed", "1"]
    with started(*options, "--drawing", "plain", "--image-port", "0", "--explicit-nulls") as url:
        path = f"{url}/v1/images/generations"
        wrong = httpx.post(path, json=BODY, headers={"Authorization": "Bearer another"})
        right = httpx.post(path, json=BODY, headers={"Authorization": "Bearer the-key"})
        later = httpx.post(path, json=BODY, headers={"Authorization": "Bearer the-key"})
        (entry,) = right.json()["data"]
        image = httpx.get(entry["url"])

    assert [answer.status_code for answer in (wrong, right, later)] == [401, 200, 429]
    assert "retry-after" not in later.headers
    assert not entry["url"].startswith(url)
    assert entry["b64_json"] is None
    assert image.content.startswith(b"\xff\xd8")
