"""`aimlapi-images edit`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from aimlapi_images import cli, mask_from_box
from aimlapi_images.orders import schema
from conftest import KEY

BLUE = (10, 20, 250)


@pytest.fixture(autouse=True)
def _in_a_folder_with_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (300, 200), BLUE).save("blue.png")
    Image.new("RGB", (300, 200), "red").save("red.jpg")
    mask_from_box("blue.png", (50, 50, 100, 100)).save("mask.png")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["edit", *arguments])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, *capsys.readouterr()


def test_it_edits_an_image(
    capsys: pytest.CaptureFixture[str], emulator_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMLAPI_API_KEY", KEY)

    code, out, err = run(capsys, "blue.png", "--prompt", "make it night", "-o", "night", "--base-url", emulator_url)

    assert (code, err) == (0, "")
    assert re.fullmatch(r"night\.png  \(1536x1024 png, [\d,]+ bytes, [\d.]+ s, \$0\.0500\)\n", out)


@pytest.mark.parametrize(
    "mask", [("--mask", "mask.png"), ("--mask-box", "50,50,100,100"), ("--mask-box", "50, 50,100,100")]
)
def test_a_mask_keeps_the_rest(capsys: pytest.CaptureFixture[str], mask: tuple[str, str]) -> None:
    code, _, _ = run(capsys, "blue.png", "-p", "a boat", *mask, "-o", "boat.png", "--emulator")

    assert code == 0
    with Image.open("boat.png") as image:
        assert image.size == (1536, 1024)  # each pixel became about five
        assert image.tobytes().count(bytes(BLUE)) >= 5 * 5 * (300 * 200 - 100 * 100)
        assert image.getpixel((600, 600)) != BLUE


def test_several_images_become_one_in_the_format_of_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "blue.png", "red.jpg", "-p", "both", "-o", "both.webp", "--size", "1536x1024", "--json", "--emulator"
    )

    known = json.loads(out)
    assert code == 0
    assert (known["path"], known["format"], known["width"], known["height"]) == ("both.webp", "webp", 1536, 1024)
    assert known["parameters"]["output_format"] == "webp"


def test_a_field_without_an_option_can_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "blue.png", "-p", "x", "--field", "user=me", "--field", "seed=7", "--emulator")

    assert code == 3
    assert "Unrecognized key in object: 'seed'" in err
    assert "Unrecognized key in object: 'user'" in err


def test_the_name_comes_from_the_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "blue.png", "-p", "Make it night!", "--emulator")

    assert (code, out.split()[0]) == (0, "make-it-night.png")


def test_the_prompt_may_come_before_the_images(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "Make it night!", "blue.png", "red.jpg", "--emulator", "--json")

    assert code == 0
    assert json.loads(out)["prompt"] == "Make it night!"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'IMAGE...'"),
        (["blue.png"], "give the prompt before the images, or as --prompt"),
        (["blue.png", "red.jpg"], "give the prompt before the images, or as --prompt"),
        (["night"], "give the prompt before the images, or as --prompt"),
        (["-", "blue.png", "-"], "standard input can be read once only"),
        (
            ["blue.png", "-p", "x", "--mask", "mask.png", "--mask-box", "1,2,3,4"],
            "--mask and --mask-box exclude each other",
        ),
        (["blue.png", "-p", "x", "--mask-box", "1,2,3"], "'1,2,3' is not left,top,width,height in pixels"),
        (["blue.png", "-p", "x", "--mask-box", "a,b,c,d"], "'a,b,c,d' is not left,top,width,height in pixels"),
        (
            ["blue.png", "-p", "x", "--mask-box", "290,0,20,20"],
            "the box 290,0,20,20 is not inside the image, which is 300x200",
        ),
        (["blue.png", "-p", "x", "--field", "seed"], "'seed' is not NAME=VALUE"),
        (
            ["blue.png", "-p", "x", "--field", "stream=true"],
            "cannot set stream: then the API would answer with a stream",
        ),
        (["missing.png", "-p", "x"], "missing.png cannot be read: No such file or directory"),
        (["missing.png", "-p", "x", "--mask-box", "1,2,3,4"], "missing.png cannot be read: No such file or directory"),
        (["blue.png", "-p", "x", "--mask", "blue.png"], "the mask has no alpha channel"),
        (["blue.png"] * 17 + ["-p", "x"], "image must be one image or a list of 1 to 16, got 17"),
        (["blue.png", "-p", "x", "-o", "mask.png"], "the file already exists: mask.png"),
        (["blue.png", "-p", "x", "--size", "1x1"], "'1x1' is not one of"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = sorted(Path().iterdir())

    code, out, err = run(capsys, *arguments, *(["--emulator"] if arguments else []))

    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_every_field_of_the_schema_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")

    words = " ".join(out.split())
    assert code == 0
    for name in set(schema.request("edits")["properties"]):
        assert f"--{name.replace('_', '-')}" in words
    assert "--mask-box X,Y,W,H" in words
    assert "IMAGE..." in words
