"""The command in pipes, in scripts, in other locales, several times at once, and without its metadata."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimlapi_images import emulator
from aimlapi_images.about import VERSION
from conftest import KEY, ROOT

COMMAND = [sys.executable, "-m", "aimlapi_images"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def base_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
    with emulator.serve() as running:
        yield running.base_url


def names_here() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"capture_output": True, "timeout": 120, **options}
    return subprocess.run([*COMMAND, *arguments], check=False, **options)


def test_an_image_goes_through_a_pipe() -> None:
    done = run("generate", "-", "--emulator", "-o", "-", "--json", input="a fóx\n".encode())

    assert (done.returncode, done.stdout[:4]) == (0, b"\x89PNG")
    known = json.loads(done.stderr)
    assert (known["prompt"], known["path"]) == ("a fóx", None)
    assert len(done.stdout) == known["bytes"]
    assert names_here() == []


def test_an_edit_takes_its_prompt_from_standard_input() -> None:
    run("generate", "a fox", "--emulator", "-o", "fox.png")

    done = run("edit", "fox.png", "--prompt", "-", "--emulator", "--json", input=b"\xef\xbb\xbfnight")

    assert json.loads(done.stdout)["prompt"] == "night"
    assert names_here() == ["fox.png", "night.png"]


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["-"], b"\xff\xfe", b"the prompt on standard input is not UTF-8"),
        (["-"], b" \n", b"prompt is empty"),
        (["--prompt", "x", "y"], b"", b"give the prompt once"),
    ],
)
def test_a_prompt_that_cannot_be_read_is_refused(arguments: list[str], given: bytes, said: bytes) -> None:
    done = run("generate", *arguments, "--emulator", input=given)

    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_an_image_from_standard_input_is_edited() -> None:
    fox = run("generate", "a fox", "--emulator", "-o", "-").stdout

    done = run("edit", "night", "-", "--emulator", "-o", "-", input=fox)

    assert (done.returncode, done.stdout[:4]) == (0, b"\x89PNG")
    assert done.stdout != fox


def test_an_endless_prompt_is_refused() -> None:
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        done = run("generate", "-", "--emulator", stdin=endless.stdout)
        endless.kill()

    assert (done.returncode, names_here()) == (2, [])
    assert b"standard input has more than 1,048,576 bytes" in done.stderr


@pytest.mark.parametrize("option", [["--field", "n=2"], ["--field", "num_images=3"], ["--field", 'n="1"']])
def test_several_images_do_not_fit_in_a_pipe(option: list[str]) -> None:
    done = run("generate", "x", "--emulator", "-o", "-", "--json", *option)

    line, known = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, b"")
    assert line.startswith(b"aimlapi-images: -o - writes one image, not several")
    assert json.loads(known)["error"] == "UsageError"


@pytest.mark.skipif(os.name == "nt", reason="pipes always block")
def test_pipes_that_do_not_block_lose_nothing() -> None:
    """As programs leave them that use asynchronous pipes themselves."""
    (prompt, prompt_in), (image, image_in) = os.pipe(), os.pipe()
    os.set_blocking(prompt, False)
    os.set_blocking(image_in, False)
    command = [*COMMAND, "generate", "-", "--emulator", "-o", "-", "--json"]
    with subprocess.Popen(command, stdin=prompt, stdout=image_in, stderr=subprocess.PIPE) as running:
        os.close(image_in)
        for words in (b"one ", b"two"):
            os.write(prompt_in, words)
        os.close(prompt_in)
        with open(image, "rb") as file:  # noqa: PTH123
            data = file.read()
        _, said = running.communicate(timeout=120)
    os.close(prompt)

    known = json.loads(said)
    assert known["prompt"] == "one two"
    assert len(data) == known["bytes"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("output", [["-o", "-"], ["-o", "fox"], []])
def test_closed_streams_end_in_no_traceback(closed: str, output: list[str]) -> None:
    command = " ".join([*COMMAND, "generate", "-" if "<" in closed else "x", "--emulator", *output, closed])

    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=120, check=False)

    refused = "<" in closed or (output == ["-o", "-"] and ">&-" in closed.split())
    assert done.returncode == (2 if refused else 0)
    assert b"Traceback" not in done.stderr
    assert len(names_here()) == (0 if refused or output == ["-o", "-"] else 1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device here")  # noqa: PTH110
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["generate", "x", "--emulator"], 1),
        (["generate", "x", "--emulator", "--json"], 1),
        (["generate", "x", "--emulator", "--size", "1x1", "--json"], 2),
        (["balance", "--emulator"], 1),
        (["--help"], 1),
        (["generate", "--help"], 1),
        (["--version"], 1),
    ],
)
def test_a_full_disk_is_one_line(arguments: list[str], code: int) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = run(*arguments, stdout=full, capture_output=False, stderr=subprocess.PIPE)

    assert done.returncode == code
    assert done.stderr.startswith(b"aimlapi-images: ")
    assert done.stderr.count(b"\n") == 1
    assert names_here() == (["x.png"] if code == 1 and "x" in arguments else [])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device here")  # noqa: PTH110
@pytest.mark.parametrize(("arguments", "code"), [(["-vv"], 0), (["--size", "1x1"], 2)])
def test_errors_that_cannot_be_written_change_nothing(arguments: list[str], code: int) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = run("generate", "x", "--emulator", *arguments, stdout=subprocess.PIPE, stderr=full, capture_output=False)

    assert done.returncode == code


def test_an_image_that_nobody_reads_is_rescued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rescued").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "rescued"))
    command = " ".join([*COMMAND, "generate", "x", "--emulator", "-o", "-", "|", "true"])

    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=120, check=False)

    (rescued,) = (tmp_path / "rescued").iterdir()
    assert re.fullmatch(rb"aimlapi-images: .*standard output: Broken pipe .*rescued as .*\.png\n", done.stderr)
    assert rescued.read_bytes()[:4] == b"\x89PNG"


def test_a_result_that_nobody_reads_is_on_standard_error() -> None:
    command = " ".join([*COMMAND, "generate", "x", "--emulator", "|", "true"])

    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=120, check=False)

    assert done.stderr.startswith(
        b"aimlapi-images: standard output cannot be written: Broken pipe; the result is x.png"
    )
    assert names_here() == ["x.png"]


def test_output_that_nobody_reads_is_no_traceback() -> None:
    command = " ".join([*COMMAND, "generate", "--help", "|", "true"])

    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=120, check=False)

    assert done.stderr == b""


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONUTF8": "0", "LANG": "C"},
        {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONUTF8": "0", "LC_ALL": "POSIX"},
    ],
)
def test_json_is_valid_in_any_locale(locale: dict[str, str]) -> None:
    done = run("generate", "Füchse 🦊", "--emulator", "--json", env={**os.environ, **locale})

    assert done.returncode == 0
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["prompt"] == "Füchse 🦊"


def test_commands_at_once_choose_different_names(base_url: str) -> None:
    command = [*COMMAND, "generate", "the same fox", "--base-url", base_url, "--quiet"]

    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    ended = [(each.communicate(timeout=120), each.returncode) for each in running]

    assert ended == [((b"", b""), 0)] * 4
    names = ["the-same-fox-2.png", "the-same-fox-3.png", "the-same-fox-4.png", "the-same-fox.png"]
    assert names_here() == names


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_options_and_values(shell: str) -> None:
    def complete(words: str, at: int) -> str:
        settings = {"COMP_WORDS": words, "COMP_CWORD": str(at), "_AIMLAPI_IMAGES_COMPLETE": f"{shell}_complete"}
        return run(env={**os.environ, **settings}).stdout.decode()

    script = run(env={**os.environ, "_AIMLAPI_IMAGES_COMPLETE": f"{shell}_source"})

    assert script.returncode == 0
    assert b"aimlapi-images" in script.stdout
    if shell == "bash":
        assert complete("aimlapi-images generate --size ", 3).count("plain,1024x1") == 2
        assert complete("aimlapi-images ge", 1) == "plain,generate\n"


def test_a_shell_that_is_unknown_is_refused() -> None:
    done = run("generate", env={**os.environ, "_AIMLAPI_IMAGES_COMPLETE": "tcsh_source"})

    assert done.returncode == 2
    assert done.stderr.startswith(b"aimlapi-images: _AIMLAPI_IMAGES_COMPLETE must be bash_source,")


def test_errors_are_json_when_asked(base_url: str) -> None:
    done = run("generate", "x", "--model", "no/such", "--base-url", base_url, "--json")

    known = json.loads(done.stdout)
    assert done.returncode == 3
    assert (known["error"], known["status"], known["may_be_billed"]) == ("NotFoundError", 404, False)
    assert known["message"] in done.stderr.decode()


def test_a_file_is_replaced_with_overwrite(base_url: str) -> None:
    Path("fox.png").write_bytes(b"old")

    refused = run("generate", "x", "-o", "fox.png", "--base-url", base_url)
    done = run("generate", "x", "-o", "fox.png", "--base-url", base_url, "--overwrite", "-vv")

    assert refused.returncode == 2
    assert done.returncode == 0
    assert b": sending attempt 1 as " in done.stderr
    assert Path("fox.png").read_bytes()[:4] == b"\x89PNG"


def test_a_folder_that_is_gone_is_refused_unsent(base_url: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    done = run("generate", "x", "--base-url", base_url, cwd=gone, preexec_fn=gone.rmdir)

    assert done.returncode == 2
    assert b"cannot be written to this folder" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_the_log_is_printed_and_narrowed(base_url: str) -> None:
    for prompt in ("one", "two"):
        run("generate", prompt, "--base-url", base_url)
    run("generate", "x", "--model", "no/such", "--base-url", base_url)

    lines = run("logs", "--base-url", base_url, "--limit", "2").stdout.decode().splitlines()
    failed = [
        json.loads(line)
        for line in run("logs", "--base-url", base_url, "--status", "failed", "--json").stdout.splitlines()
    ]

    assert [line.split("  ")[1] for line in lines] == ["failed", "succeeded"]
    assert [(entry["model"], entry["usage"]["usd_spent"]) for entry in failed] == [("no/such", 0.0)]
    for span in (["--until", "2026-01-01"], ["--since", "0001-01-01"], ["--since", "9999-12-31"]):
        assert run("logs", *span, "--base-url", base_url).returncode == 2


def test_it_runs_from_a_zip_without_metadata(tmp_path: Path) -> None:
    """As frozen and vendored programs do: no metadata, no files on disk."""
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as program:
        for folder in (ROOT / "src", ROOT / "generated"):
            for path in folder.rglob("*"):
                if path.suffix in (".py", ".json", ".sql"):
                    program.write(path, path.relative_to(folder))
    # Without the editable install: its packages and its metadata are hidden.
    script = """
import importlib.metadata, sys
sys.path[:] = [each for each in sys.path if not each.endswith(("/src", "/generated"))]
sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in repr(each).lower()]
sys.path.insert(0, "program.zip")
def hidden(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = hidden
from aimlapi_images.cli import main
main(sys.argv[1:])
"""
    # Coverage would count the copy as another source.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTHONPATH"))}

    def packed(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)

    done = packed("generate", "a fox", "--emulator")

    assert (done.returncode, done.stderr) == (0, "")
    assert Path("a-fox.png").exists()
    Path("jobs.txt").write_text("a fox\n", encoding="utf-8")
    assert packed("batch", "jobs.txt", "--out", "out", "--emulator", "-q").returncode == 0
    assert packed("--version").stdout == f"aimlapi-images {VERSION}\n"


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_a_batch_and_its_results_are_the_same_in_any_locale(format_: str) -> None:
    prompt = "Füchse 🦊"
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    Path("jobs.txt").write_text(prompt, encoding="utf-8")

    events = run("batch", "jobs.txt", "--out", "out", "--emulator", "--json", env=plain).stdout.splitlines()
    results = run("results", "out", "--format", format_, env=plain).stdout

    assert prompt in [json.loads(event).get("prompt") for event in events]
    assert prompt in results.decode()
