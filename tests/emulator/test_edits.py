"""The edits endpoint of the emulator."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from aimlapi_images import emulator, mask_from_box
from aimlapi_images.emulator import image_store
from aimlapi_images.emulator.drawing.edited import edit
from aimlapi_images.emulator.drawing.picture import Picture
from conftest import KEY

MODEL = "openai/gpt-image-1-5"
PATH = "/v1/images/edits"
HEADERS = {"Authorization": f"Bearer {KEY}"}
SIZE = (1536, 1024)


@pytest.fixture
def http(emulator_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=emulator_url, headers=HEADERS, timeout=60) as client:
        yield client


def saved(picture: Image.Image, format_: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, format_)
    return file.getvalue()


def part(data: bytes, media_type: str = "image/png") -> tuple[str, bytes, str]:
    return "cat.png", data, media_type


BLUE = saved(Image.new("RGB", SIZE, (10, 20, 250)))
HOLE = saved(mask_from_box(BLUE, (250, 250, 500, 500)))


def ask(http: httpx.Client, files: Any, **fields: Any) -> httpx.Response:
    return http.post(PATH, data={"model": MODEL, "prompt": "A fox", **fields}, files=files)


def shown(answer: httpx.Response) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["data"][0]["b64_json"])))


def test_a_response_has_the_documented_form(http: httpx.Client) -> None:
    answer = ask(http, {"image": part(BLUE)}, quality="low")

    body = answer.json()
    url = body["data"][0].pop("url")
    assert answer.status_code == 200
    assert isinstance(body.pop("created"), int)
    assert body == {
        "background": "opaque",
        "data": [{}],
        "output_format": "png",
        "quality": "low",
        "size": "1536x1024",
        "meta": {"usage": {"credits_used": 26_000, "usd_spent": 0.013}},
    }
    assert answer.headers["x-aimlapi-usd-spent"] == "0.013"
    image = httpx.get(url, timeout=60)
    assert image.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(image.content)).size == SIZE


def test_the_path_works_without_v1_and_images_as_an_array(http: httpx.Client) -> None:
    answer = http.post("/images/edits", data={"model": MODEL, "prompt": "x"}, files=[("image[]", part(BLUE))] * 2)

    assert answer.status_code == 200


def test_several_images_differ_and_each_has_a_price(http: httpx.Client) -> None:
    answer = ask(http, {"image": part(BLUE)}, n="3", quality="low", response_format="b64_json")

    assert len({entry["b64_json"] for entry in answer.json()["data"]}) == 3
    assert answer.json()["meta"]["usage"]["usd_spent"] == pytest.approx(0.039)


def test_a_wrong_key_is_refused(emulator_url: str) -> None:
    answer = httpx.post(f"{emulator_url}{PATH}", data={"model": MODEL}, files={"image": part(BLUE)})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("size", "expected"),
    [((40, 30), "1536x1024"), ((30, 40), "1024x1536"), ((4032, 3024), "1536x1024"), ((9, 9), "1024x1024")],
)
def test_an_edit_without_a_size_returns_a_size_of_the_model(
    http: httpx.Client, size: tuple[int, int], expected: str
) -> None:
    answer = ask(http, {"image": part(saved(Image.new("RGB", size)))})

    assert answer.json()["size"] == expected


def test_old_urls_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "_BYTES_KEPT", 1)
    with emulator.serve() as running, httpx.Client(base_url=running.base_url, headers=HEADERS, timeout=60) as http:
        urls = [ask(http, {"image": part(BLUE)}, prompt=prompt).json()["data"][0]["url"] for prompt in "ab"]

        assert [http.get(url).status_code for url in urls] == [404, 200]


GIF = saved(Image.new("RGB", SIZE), "GIF")
REFUSED: list[tuple[str, dict[str, Any], Any, str, str]] = [
    ("no image", {}, [("mask", part(HOLE))], "image", "Required"),
    ("another file", {}, [("other", part(BLUE))], "other", "Expected text, received a file"),
    ("a field that the model lacks", {"user": "me"}, [("image", part(BLUE))], "user", "Unrecognized key in object"),
    ("a stream", {"stream": "true"}, [("image", part(BLUE))], "stream", "Streaming is not supported"),
    ("a count of 5,000 digits", {"n": "1" * 5000}, [("image", part(BLUE))], "n", "n must be a whole number"),
    ("image as text", {"image": "text"}, [("mask", part(HOLE))], "image", "Expected a file, received text"),
    ("17 images", {}, [("image[]", part(BLUE))] * 17, "image", "Array must contain at most 16 element(s)"),
    ("two masks", {}, [("image", part(BLUE)), ("mask", part(HOLE)), ("mask", part(HOLE))], "mask", "Expected one file"),
    (
        "octet-stream",
        {},
        [("image", part(BLUE, "application/octet-stream"))],
        "image",
        "Invalid file 'image': unsupported mimetype ('application/octet-stream'). "
        "Supported file formats are 'image/png', 'image/jpeg', 'image/webp'.",
    ),
    ("gif that says png", {}, [("image", part(GIF))], "image", "it must be png or jpeg or webp, but its bytes are gif"),
    ("no image at all", {}, [("image", part(b"text"))], "image", "4 bytes that are not a PNG"),
    ("empty file", {}, [("image", part(b""))], "image", "Invalid file 'image': it is empty."),
    ("broken image", {}, [("image", part(BLUE[:-40]))], "image", "Invalid file 'image': it cannot be decoded"),
    (
        "large mask",
        {},
        [("image", part(BLUE)), ("mask", part(HOLE + bytes(4_000_000)))],
        "mask",
        "it has more than the allowed 3,999,999 bytes",
    ),
    ("mask without alpha", {}, [("image", part(BLUE)), ("mask", part(BLUE))], "mask", "has no alpha channel"),
    ("prompt", {"prompt": ""}, [("image", part(BLUE))], "prompt", "prompt is empty"),
    ("size", {"size": "1x1"}, [("image", part(BLUE))], "size", "Invalid enum value. Expected '1024x1024'"),
    ("count", {"n": "11"}, [("image", part(BLUE))], "n", "n must be at most 10, not 11"),
    ("count as text", {"n": "many"}, [("image", part(BLUE))], "n", "n must be a whole number, not 'many'"),
]


@pytest.mark.parametrize(
    ("fields", "files", "field", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_wrong_request_is_refused_in_the_documented_form(
    http: httpx.Client, fields: dict[str, Any], files: Any, field: str, message: str
) -> None:
    answer = ask(http, files, **fields)

    body = answer.json()
    assert (answer.status_code, body["statusCode"], body["message"]) == (400, 400, "Body validation error!")
    assert body["meta"][0]["path"] == [field]
    assert message in body["meta"][0]["message"]


def test_other_models_and_other_bodies_are_refused(http: httpx.Client) -> None:
    unknown = ask(http, {"image": part(BLUE)}, model="acme/nothing")
    json = http.post(PATH, json={"model": MODEL, "prompt": "x"})
    broken = http.post(PATH, content=b"--x", headers={"Content-Type": "multipart/form-data; boundary=y"})

    assert (unknown.status_code, unknown.json()["message"][:26]) == (404, "There is no model 'acme/no")
    assert (json.status_code, json.json()["message"]) == (400, "Body validation error!")
    assert (broken.status_code, broken.json()["statusCode"]) == (400, 400)


# ---- What it draws


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_nothing_changes_outside_the_mask_in_any_image_mode(http: httpx.Client, mode: str) -> None:
    ground = Image.effect_noise(SIZE, 90.0)
    before = ground.convert("RGBA").convert(mode) if mode not in ("I;16", "LA") else ground.convert(mode)
    files = {"image": part(saved(before)), "mask": part(HOLE)}

    after = shown(ask(http, files, response_format="b64_json"))

    with Image.open(io.BytesIO(saved(before))) as image:
        known = image.convert("RGBA" if image.has_transparency_data else "RGB").convert("RGBA")
    black, outside = Image.new("RGBA", SIZE), Image.open(io.BytesIO(HOLE)).getchannel("A")
    kept = [Image.composite(each.convert("RGBA"), black, outside).tobytes() for each in (known, after)]
    assert kept[0] == kept[1]
    assert known.crop((250, 250, 750, 750)).tobytes() != after.convert("RGBA").crop((250, 250, 750, 750)).tobytes()


def test_only_fully_transparent_pixels_are_redrawn(http: httpx.Client) -> None:
    mask = Image.open(io.BytesIO(HOLE))
    mask.putpixel((10, 10), (0, 0, 0, 1))
    files = {"image": part(BLUE), "mask": part(saved(mask))}

    after = shown(ask(http, files, response_format="b64_json"))

    assert after.getpixel((10, 10)) == (10, 20, 250)
    assert after.getpixel((700, 700)) != (10, 20, 250)


def test_a_mask_follows_the_image_to_another_size(http: httpx.Client) -> None:
    files = {"image": part(BLUE), "mask": part(HOLE)}

    after = shown(ask(http, files, response_format="b64_json", size="1024x1536"))

    assert after.size == (1024, 1536)
    assert after.getpixel((10, 10)) == (10, 20, 250)
    assert after.getpixel((360, 700)) != (10, 20, 250)


@pytest.mark.parametrize(
    "hole", [(0, 0, 1, 1), (0, 0, 1536, 1), (0, 0, 1, 1024), (1535, 1023, 1, 1), (0, 0, 1535, 1024)]
)
def test_a_hole_of_any_shape_is_filled(http: httpx.Client, hole: tuple[int, int, int, int]) -> None:
    magenta = saved(Image.new("RGB", SIZE, (255, 0, 255)))
    files = {"image": part(magenta), "mask": part(saved(mask_from_box(magenta, hole)))}

    after = shown(ask(http, files, response_format="b64_json"))

    left, top, width, height = hole
    inside = after.crop((left, top, left + width, top + height)).tobytes()
    assert inside.count(bytes((255, 0, 255))) == 0
    assert after.tobytes().count(bytes((255, 0, 255))) >= SIZE[0] * SIZE[1] - width * height


def test_the_prompt_restyles_the_picture_if_there_is_no_mask(http: httpx.Client) -> None:
    before = saved(Image.effect_noise(SIZE, 90.0).convert("RGB"))

    first, second = [
        shown(ask(http, {"image": part(before)}, prompt=prompt, response_format="b64_json"))
        for prompt in ("A fox", "x")
    ]

    old = Image.open(io.BytesIO(before)).tobytes()
    changed = sum(a != b for a, b in zip(old, first.tobytes(), strict=True)) / len(old)
    assert changed > 0.5
    assert first.tobytes() != second.tobytes()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (700, 2), (64, 64)])
def test_pictures_of_any_size_are_edited(size: tuple[int, int]) -> None:
    files = [io.BytesIO(saved(Image.new("RGBA", size, (9, 9, 9, 120)))) for _ in range(3)]
    picture = Picture("A fox", *size)

    assert edit(files[:1], None, picture).size == size
    assert edit(files, None, picture).size == size
    assert edit(files, io.BytesIO(saved(Image.new("RGBA", size))), picture).size == size
    assert edit(files, io.BytesIO(saved(Image.new("RGBA", size, "red"))), picture).mode == "RGBA"


@pytest.mark.parametrize("count", [1, 3])
def test_a_transparent_background_is_transparent(http: httpx.Client, count: int) -> None:
    files = [("image[]", part(BLUE))] * count

    after = shown(ask(http, files, background="transparent", response_format="b64_json"))

    assert after.getchannel("A").getextrema() == (0, 255)
