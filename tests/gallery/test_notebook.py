"""Grids of images in a notebook, and the example notebook, executed."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from aimlapi_images import BatchError, ImageClient, InvalidRequestError
from aimlapi_images.batch import read_results
from aimlapi_images.gallery import Grid, grid, notebook
from conftest import PIXEL_ANSWER, ROOT, scripted
from galleries import REFUSAL, Made, picture, store

EXAMPLE = ROOT / "examples" / "batch.ipynb"


def pictures(shown: Grid) -> list[tuple[str, bytes]]:
    """The images in a grid: their media types and bytes."""
    found = re.findall(r'src="data:([^;]+);base64,([^"]+)"', shown._repr_html_())
    return [(media_type, base64.b64decode(data)) for media_type, data in found]


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


async def test_images_are_shown_small_and_errors_as_text(client: ImageClient) -> None:
    fox = await client.generate("A <b>fox</b>", size="1536x1024")

    shown = grid([fox, ValueError("no <owl>")], width=150)

    ((media_type, data),) = pictures(shown)
    assert (media_type, size_of(data), shown.images) == ("image/webp", (300, 200), 2)
    assert "A &lt;b&gt;fox&lt;/b&gt;" in shown.html
    assert "<b>ValueError</b><br>no &lt;owl&gt;" in shown.html
    assert "<b>fox" not in shown.html
    assert repr(shown) == "Grid(images=2)"


async def test_all_images_of_an_answer_are_shown() -> None:
    (one,) = PIXEL_ANSWER["data"]
    client, _ = scripted(httpx.Response(200, json={"data": [one, one]}))

    shown = grid([await client.generate("A fox", model="acme/new", options={"n": 2})])

    assert len(pictures(shown)) == 2
    await client.aclose()


def test_a_batch_is_shown_with_its_failures(tmp_path: Path) -> None:
    made = [Made(id="fox", data=(picture("red"),)), Made(id="owl", error=REFUSAL), Made(id="eel", data=(picture(),))]
    store(tmp_path, made)
    next(tmp_path.glob("name-3*")).unlink()

    whole, chosen = grid(tmp_path), grid(list(read_results(tmp_path))[:1], out=tmp_path)

    assert (whole.images, len(pictures(whole)), chosen.images) == (3, 1, 1)
    assert "<b>refused</b><br>HTTP 400" in whole.html
    assert "<b>file missing</b><br>name-3" in whole.html


def test_a_grid_is_limited(tmp_path: Path) -> None:
    shown = grid(store(tmp_path, (Made(id=str(number), error=REFUSAL) for number in range(70))), limit=50)

    assert shown.images == 50
    assert shown.html.endswith("<p>and 20 more</p>")


async def test_an_image_that_cannot_be_made_smaller_is_shown_as_it_is(
    client: ImageClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = store(tmp_path, [Made(id="half", data=(picture(size=(600, 600))[:60],))])
    fox = await client.generate("A fox", output_format="jpeg")
    (half,) = pictures(grid(broken))
    monkeypatch.setattr(notebook, "available", lambda: False)

    ((media_type, data),) = pictures(grid([fox]))

    assert half == ("image/png", picture(size=(600, 600))[:60])
    assert (media_type, data) == ("image/jpeg", fox.data)


async def test_an_image_whose_file_is_gone_is_said_to_be(client: ImageClient, tmp_path: Path) -> None:
    fox = await client.generate("A fox", to=tmp_path / "fox")
    (tmp_path / "fox.png").unlink()

    assert "<b>file missing</b>" in grid([fox]).html


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="is not the folder of a batch"):
        grid(tmp_path)
    with pytest.raises(InvalidRequestError, match="say with out= in which folder"):
        grid(read_results(store(tmp_path, [Made(id="fox", data=(picture(),))])))
    with pytest.raises(InvalidRequestError, match="a grid shows images, results of a batch and errors, not int"):
        grid([1])  # type: ignore[list-item]


def outputs(notebook: Any) -> str:
    """All outputs of a notebook as text, without data of images."""
    return re.sub(r"[A-Za-z0-9+/=\n]{200,}", "", str([cell.get("outputs") for cell in notebook.cells]))


def test_the_example_notebook_runs_and_shows_images(tmp_path: Path) -> None:
    example = nbformat.read(EXAMPLE, 4)  # type: ignore[no-untyped-call]
    committed = outputs(example)

    NotebookClient(example, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()

    shown = outputs(example)
    assert shown.count("data:image/webp;base64") >= 10
    assert "<b>InvalidRequestError</b>" in shown
    assert "<b>refused</b>" in shown
    assert (tmp_path / "animals" / "index.html").exists()
    assert committed.count("data:image/webp;base64") == shown.count("data:image/webp;base64")
    assert not re.search(r"/home/|/tmp/|/Users/|\\Users|" + re.escape(str(ROOT)), committed)
