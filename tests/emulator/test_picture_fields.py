"""Sizes, numbers of images and formats that other models request from the emulator."""

from __future__ import annotations

from typing import Any

import pytest

from aimlapi_images.emulator.answers import ApiError
from aimlapi_images.emulator.drawing.paint import paint
from aimlapi_images.emulator.drawing.picture import Picture
from aimlapi_images.emulator.generation_body import _count, _with_defaults
from aimlapi_images.emulator.picture_fields import picture_of, price_of, size_of
from aimlapi_images.orders import schema


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, (1024, 1024)),
        ({"size": "auto"}, (1024, 1024)),
        ({"size": "adaptive"}, (1024, 1024)),
        ({"size": "1792x1024"}, (1792, 1024)),
        ({"size": "640*480"}, (640, 480)),
        ({"width": 640, "height": 480}, (640, 480)),
        ({"width": 640}, (640, 1024)),
        ({"image_size": {"width": 2048, "height": 1440}}, (2048, 1440)),
        ({"image_size": {}}, (1024, 1024)),
        ({"image_size": "square"}, (512, 512)),
        ({"image_size": "landscape_16_9"}, (1024, 576)),
        ({"image_size": "portrait_4_3"}, (768, 1024)),
        ({"image_size": "2K"}, (2048, 2048)),
        ({"image_size": "1.5K"}, (1536, 1536)),
        ({"resolution": "4k"}, (4096, 4096)),
        ({"aspect_ratio": "1:1"}, (1024, 1024)),
        ({"aspect_ratio": "16:9"}, (1368, 768)),
        ({"aspect_ratio": "16:9", "resolution": "2K"}, (2728, 1536)),
        ({"aspect_ratio": "9:19.5"}, (696, 1504)),
        ({"aspect_ratio": "21:9", "resolution": "4K"}, (4096, 2680)),
        ({"aspect_ratio": "auto"}, (1024, 1024)),
        ({"aspect_ratio": "0:1"}, (1024, 1024)),
    ],
)
def test_sizes_are_read_from_the_fields_of_all_models(asked: dict[str, Any], expected: tuple[int, int]) -> None:
    assert size_of(asked) == expected


@pytest.mark.parametrize("asked", [{"width": 0, "height": 1}, {"size": "1024x9999"}, {"image_size": {"width": 0}}])
def test_a_size_that_cannot_be_drawn_is_an_error(asked: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="The emulator draws 1 to 4096 pixels a side, and not"):
        size_of(asked)


@pytest.mark.parametrize("size", [(1, 1), (8, 6), (64, 64), (64, 900), (900, 64), (333, 100)])
def test_small_and_narrow_pictures_are_drawn_too(size: tuple[int, int]) -> None:
    assert paint(Picture("A fox", width=size[0], height=size[1], quality="low")).startswith(b"\x89PNG")


def test_formats_that_cannot_be_drawn_are_an_error() -> None:
    assert picture_of({"output_format": "jpg"}).output_format == "jpeg"
    with pytest.raises(ApiError, match="The emulator draws png, jpeg, webp, and not tiff"):
        picture_of({"output_format": "tiff"})


def test_a_model_without_common_fields_gets_a_picture_and_a_price() -> None:
    asked = {"model": "acme/sharpen", "image_url": "https://example.com/a.png"}

    assert picture_of(asked) == Picture("acme/sharpen")
    assert price_of(asked) == 0.034
    assert price_of({"image_size": "2K", "quality": "hd"}) == 0.05


def test_a_given_size_overrides_the_default_of_another_field() -> None:
    described = schema.request("generations")

    assert "size" not in _with_defaults({"aspect_ratio": "16:9"}, described)
    assert _with_defaults({}, described)["size"] == "1024x1024"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [({}, 1), ({"n": 3}, 3), ({"num_images": 4}, 4), ({"n": 1, "num_images": 2}, 2), ({"n": None}, 1)],
)
def test_both_fields_for_the_number_of_images_work(asked: dict[str, Any], expected: int) -> None:
    assert _count(asked) == expected


def test_several_images_for_one_prompt_are_different_ones() -> None:
    several = [picture_of({"prompt": "A fox", "quality": "low"}, number) for number in range(3)]

    assert len({paint(picture) for picture in several}) == 3
    assert several[0] == picture_of({"prompt": "A fox", "quality": "low"})
