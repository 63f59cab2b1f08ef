"""The page of a batch: what is in it, and what it refuses to be."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs
import pytest
from PIL import Image

from aimlapi_images import BatchError, ImageClient, InvalidRequestError
from aimlapi_images.emulator import RunningEmulator
from aimlapi_images.gallery import page as pages
from aimlapi_images.gallery import write_gallery
from batches import jobs, run
from galleries import REFUSAL, Made, picture, store

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> \"'& \u202e\u2028\x07"
FOX = picture("orange")


@attrs.define
class Page(HTMLParser):
    """A page as a browser reads it: its tags with their attributes, and the texts of its scripts and styles."""

    text: str
    tags: list[tuple[str, dict[str, str | None]]] = attrs.field(factory=list)
    inline: dict[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:  # inside a script or style
            name = self.tags[-1][1].get("type") or self.cdata_elem
            self.inline[name] = self.inline.get(name, "") + data

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.inline["application/json"])
        return data


def written(out: Path, **options: Any) -> Page:
    return Page(write_gallery(out, **options).read_text(encoding="utf-8"))


def cards(out: Path, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = written(out, **options).data["cards"]
    return found


async def test_a_batch_is_shown_with_its_images_failures_and_costs(
    fast_client: ImageClient, fast_emulator: RunningEmulator, tmp_path: Path
) -> None:
    await run(fast_client, jobs("fox", quality="low", metadata={"sku": 7}), tmp_path)
    fast_emulator.fail("content_policy")
    await run(fast_client, jobs("owl"), tmp_path)

    page = written(tmp_path)

    fox, owl = page.data["cards"]
    assert (fox["id"], fox["status"], fox["source"], fox["carried"]) == ("fox", "done", "./fox.png", {"sku": 7})
    assert fox["parameters"] == {"model": "openai/gpt-image-1-5", "quality": "low"}
    with Image.open(tmp_path / fox["thumbnail"]) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (400, 400))
    assert (owl["status"], owl["error"][0], "source" in owl) == ("refused", "ContentPolicyError", False)
    assert page.data["about"] | {"written": ""} == {"name": tmp_path.name, "written": "", "usd": 0.009, "unpriced": 0}


def test_the_page_needs_nothing_else_and_allows_only_its_own_style_and_script(tmp_path: Path) -> None:
    page = written(store(tmp_path, [Made(id="fox", data=(FOX,))]))

    (policy,) = (each["content"] or "" for tag, each in page.tags if each.get("http-equiv"))
    allowed = set(re.findall(r"'(sha256-[^']+)'", policy))
    digests = {base64.b64encode(hashlib.sha256(page.inline[name].encode()).digest()) for name in ("style", "script")}
    assert allowed == {f"sha256-{digest.decode()}" for digest in digests}
    assert policy.startswith("default-src 'none'; img-src 'self' file:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert [each for _, each in page.tags if {"src", "href", "style", "onclick"} & set(each)] == []
    assert not re.search(r"https?://|innerHTML|eval\(", page.text)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    made = Made(id=HOSTILE, prompt=HOSTILE, carried={HOSTILE: HOSTILE}, data=(FOX,))

    page = written(store(tmp_path, [made]))

    (card,) = page.data["cards"]
    assert (card["id"], card["prompt"], card["carried"]) == (HOSTILE, HOSTILE, {HOSTILE: HOSTILE})
    assert [tag for tag, _ in page.tags].count("script") == 2


def test_paths_become_relative_urls_whatever_is_in_them(tmp_path: Path) -> None:
    (card,) = cards(store(tmp_path, [Made(id="fox", data=(FOX,))]))

    assert card["path"] == "name-1-1 #1%?.png"
    assert card["source"] == "./name-1-1%20%231%25%3F.png"


def test_thumbnails_are_made_once_and_removed_with_their_images(tmp_path: Path) -> None:
    (first,) = cards(store(tmp_path / "a", [Made(id="fox", data=(FOX,))]))
    thumbnail = tmp_path / "a" / first["thumbnail"]
    thumbnail.write_bytes(b"as it was")
    other = thumbnail.with_name("0" * 32 + ".webp")
    other.write_bytes(b"of an image that is gone")

    (again,) = cards(tmp_path / "a")

    assert again["thumbnail"] == first["thumbnail"]
    assert thumbnail.read_bytes() == b"as it was"
    assert not other.exists()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "JPEG"])
def test_thumbnails_are_made_of_every_format(tmp_path: Path, kind: str) -> None:
    (card,) = cards(store(tmp_path, [Made(id="fox", data=(picture("navy", kind, (900, 600)),))]))

    with Image.open(tmp_path / card["thumbnail"]) as thumbnail:
        assert thumbnail.size == (400, 267)
        assert thumbnail.convert("RGB").getpixel((200, 100)) == pytest.approx((0, 0, 128), abs=12)


def test_transparency_stays_in_thumbnails(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    Image.new("RGBA", (60, 40), (255, 0, 0, 0)).save(path)

    (card,) = cards(store(tmp_path / "out", [Made(id="fox", data=(path.read_bytes(),))]))

    with Image.open(tmp_path / "out" / card["thumbnail"]) as thumbnail:
        assert thumbnail.convert("RGBA").getpixel((5, 5))[3] == 0  # type: ignore[index]


def test_changed_and_missing_files_are_shown_as_such(tmp_path: Path) -> None:
    made = [Made(id=color, data=(picture(color),)) for color in ("red", "green", "blue")]
    whole = cards(store(tmp_path, made))
    (tmp_path / whole[0]["path"]).unlink()
    (tmp_path / whole[1]["path"]).write_bytes(picture("pink") + b"more")

    red, green, blue = cards(tmp_path)

    assert (red["file_state"], "source" in red, "thumbnail" in red) == ("missing", False, False)
    assert (green["file_state"], "source" in green, "thumbnail" in green) == ("changed", True, False)
    assert ("file_state" in blue, blue["thumbnail"]) == (False, whole[2]["thumbnail"])


def test_an_image_that_pillow_cannot_read_has_no_thumbnail(tmp_path: Path) -> None:
    (card,) = cards(store(tmp_path, [Made(id="half", data=(picture(size=(600, 600))[:60],))]))

    assert (card["status"], "source" in card, "thumbnail" in card) == ("done", True, False)


def test_further_images_of_a_job_cost_nothing_more(tmp_path: Path) -> None:
    first, second = cards(store(tmp_path, [Made(id="fox", data=(FOX, picture("gray", size=(30, 30))), usd=0.05)]))

    assert (first["usd"], first["width"], "number" in first) == (0.05, 60, False)
    assert (second["id"], second["number"], second["width"], "usd" in second) == ("fox", 2, 30, False)


def test_without_pillow_or_thumbnails_the_page_shows_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, [Made(id="fox", data=(FOX,))])
    (chosen,) = cards(tmp_path, thumbnails=False)
    monkeypatch.setattr(pages, "available", lambda: False)

    (card,) = cards(tmp_path)

    assert "thumbnail" not in card | chosen
    assert card["source"].endswith(".png")
    assert not (tmp_path / ".thumbnails").exists()


def test_progress_counts_jobs(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    page = written(
        store(tmp_path, (Made(id=str(n), error=REFUSAL) for n in range(300))), progress=lambda *n: told.append(n)
    )

    assert told == [(256, 300), (300, 300)]
    assert [card["id"] for card in page.data["cards"]] == [str(number) for number in range(300)]


def test_a_batch_without_jobs_has_a_page(tmp_path: Path) -> None:
    assert cards(store(tmp_path, [])) == []


def test_another_page_is_never_replaced(tmp_path: Path) -> None:
    store(tmp_path, [Made(id="fox")])
    (tmp_path / "index.html").write_text("<h1>My own page</h1>")

    with pytest.raises(InvalidRequestError, match="is not a gallery of this package: rename it"):
        write_gallery(tmp_path)

    assert (tmp_path / "index.html").read_text() == "<h1>My own page</h1>"


def test_what_cannot_be_written_is_one_of_our_errors(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="is not the folder of a batch"):
        write_gallery(tmp_path)
    store(tmp_path, [Made(id="fox")])
    (tmp_path / "index.html").mkdir()

    with pytest.raises(InvalidRequestError, match=r"index\.html cannot be written: Is a directory"):
        write_gallery(tmp_path)

    assert not list(tmp_path.glob(".aimlapi*"))
