"""What all orders share: ids, fields, formats and where the image goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import ValidationError

from aimlapi_images import InvalidRequestError
from aimlapi_images.orders.edit import EditOrder
from aimlapi_images.orders.generation import GenerationOrder
from aimlapi_images.orders.order import Order, format_field, images_expected
from aimlapi_images.threads import Threads
from conftest import PIXEL, PIXEL_ANSWER, scripted

MODEL = "openai/gpt-image-1-5"


def generation(**arguments: Any) -> GenerationOrder:
    return GenerationOrder.new(**{"prompt": "x", "model": MODEL, "parameters": {}, **arguments})


@pytest.fixture(params=["generation", "edit"])
async def build(request: pytest.FixtureRequest, threads: Threads) -> Any:
    """Builds either kind of order."""

    async def build(**arguments: Any) -> Order:
        arguments = {"prompt": "x", "model": MODEL, "parameters": {}, **arguments}
        if request.param == "generation":
            return GenerationOrder.new(**arguments)
        return await EditOrder.new(**arguments).with_images(PIXEL, None, threads)

    return build


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ""}, "prompt .*empty"),
        ({"prompt": " \n\t"}, "prompt .*empty"),
        ({"prompt": None}, "prompt .*None"),
        ({"prompt": "x" * 32_001}, "prompt .*32,001"),
        ({"prompt": "\ud800"}, "field 'prompt' cannot be sent: .*surrogates"),
        ({"parameters": {"size": "1x1"}}, "size .*'1x1'"),
        ({"parameters": {"quality": "best"}}, "quality .*'best'"),
        ({"parameters": {"output_compression": 101}}, "output_compression .*101"),
        ({"parameters": {"output_compression": "9"}}, "output_compression .*'9'"),
        ({"parameters": {"background": "transparent", "output_format": "jpeg"}}, 'needs output_format "png" or "webp"'),
        ({"parameters": {"size": "1024x1024"}, "options": {"size": "1024x1536"}}, "options cannot set size: pass it"),
        ({"options": {"prompt": "y"}}, "options cannot set prompt: pass it as an argument"),
        ({"options": {"model": "y"}}, "options cannot set model"),
        (
            {"options": {"output_fromat": "png"}},
            r"does not have output_fromat \(did you mean output_format\?\); its fi",
        ),
        ({"options": {"style": "x", "user": "me"}}, "does not have style, user; its fields are prompt, .*extra_body"),
        ({"options": {"a\nb": "x"}}, r"does not have a\\nb; its fields"),
        ({"options": {"x" * 1000: "x"}}, r"does not have x+\.\.\.; its fields"),
        ({"options": {"stream": True}}, "options cannot set stream: then the API would answer with a stream"),
        ({"extra_body": {"stream": False}}, "extra_body cannot set stream: then the API would"),
        ({"extra_body": {"partial_images": 2}, "model": "acme/new"}, "extra_body cannot set partial_images: then"),
        ({"extra_body": {"model": "y"}}, "extra_body cannot set model: pass it as an argument"),
        ({"extra_body": {"size": "7x7"}, "parameters": {"size": "7x7"}}, "extra_body cannot set size: pass it as"),
        ({"extra_body": {"n": 1}, "options": {"n": 1}}, "extra_body cannot set n: pass it as an argument"),
        ({"extra_body": {"prompt": "x"}, "prompt": ""}, "extra_body cannot set prompt"),
        ({"extra_body": "x"}, "extra_body must be a mapping from field names to values, got 'x'"),
        ({"extra_body": {"a\ud800": "x"}}, r"field 'a\\ud800' cannot be sent: .*surrogates"),
        ({"options": {"a\ud800": "x"}}, r"field 'a\\ud800' cannot be sent: .*surrogates"),
        ({"options": {"seed": 10**5000}}, "field 'seed' cannot be sent"),
        ({"parameters": {"output_compression": 10**5000}}, "field 'output_compression' cannot be sent"),
        ({"options": [("n", 1)]}, "options must be a mapping from field names to values, got .*"),
        ({"options": {1: 2}}, "options must be a mapping from field names to values, got {1: 2}"),
        ({"model": None}, "model must be the name of a model, got None"),
        ({"model": " "}, "model must be the name of a model, got ' '"),
        ({"model": "acme/new", "prompt": ""}, "prompt .*empty"),
        ({"order": 5}, "order must be a non-empty string, got 5"),
        ({"order": ""}, "order must be a non-empty string, got ''"),
        ({"order": " "}, "order ' ' cannot be used as a request id"),
        ({"order": "my order"}, "order 'my order' cannot be used as a request id: with its attempt, "),
        ({"order": "a" * 115}, "cannot be used as a request id: .*129.*128|cannot be used as a request id: .*128.*129"),
        ({"to": 5}, "to must be a path, got 5"),
        ({"to": os.fsencode("cat.png")}, "to must be a path, got b'cat.png'"),
        ({"to": "a\0b"}, r"to is not a valid path: 'a\\x00b'"),
        ({"to": "missing/cat.png"}, "the image cannot be written: .*missing"),
        ({"to": "cat.gif"}, "cat.gif: openai/gpt-image-1-5 cannot make gif, only png, jpeg, webp: change the"),
    ],
)
async def test_invalid_arguments_are_refused(build: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        await build(**arguments)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


async def test_an_unknown_model_has_no_limits(build: Any) -> None:
    order = await build(model="acme/new", prompt="x" * 40_000, options={"size": "7x7"})

    assert len(order.prompt) == 40_000
    assert order.parameters == {"model": "acme/new", "size": "7x7"}


async def test_fields_of_an_extra_body_count_as_fields_of_the_order(build: Any, tmp_path: Path) -> None:
    order = await build(extra_body={"output_format": "jpg", "n": 3, "user": "me"}, to=tmp_path / "fox.png")

    assert order.parameters == {"model": MODEL, "output_format": "jpg", "n": 3, "user": "me"}
    assert (order.target, images_expected(order.fields)) == (tmp_path.resolve() / "fox.jpg", 3)


@pytest.mark.parametrize("wrong", [{"size": "7x7"}, {"n": "many"}])
async def test_the_tests_notice_a_body_that_the_document_forbids(build: Any, wrong: dict[str, Any]) -> None:
    order = await build(extra_body=wrong)

    with pytest.raises(ValidationError):
        order.request("o.1")


async def test_the_longest_prompt_and_id_are_accepted(build: Any) -> None:
    order = await build(prompt="x" * 32_000, order="a" * 114)

    assert order.request(order.id + ".0123abcd.9999")["headers"]["X-Client-Request-Id"] == "a" * 114 + ".0123abcd.9999"


async def test_ids_are_unique(build: Any) -> None:
    assert (await build()).id != (await build()).id


async def test_all_problems_are_in_one_error(build: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"prompt .*empty.*; .*size|size.*; .*prompt .*empty"):
        await build(prompt="", parameters={"size": "1x1"})


async def test_later_changes_by_the_caller_do_not_reach_the_order() -> None:
    tags = ["a"]
    order = generation(model="acme/new", options={"tags": tags})

    tags.append("b")

    assert order.parameters["tags"] == ["a"]


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("missing/trex.png", "the folder does not exist: .*missing"),
        ("file.png/trex.png", "the folder does not exist: .*file.png"),
        ("file.png", "the file already exists: .*file.png"),
        ("file", "the file already exists: .*file.png"),
        ("folder", "this is a folder, not a file: .*folder"),
        ("x" * 300, "name too long"),
        (".", "this names a folder"),
    ],
)
async def test_a_path_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Any, to: str, message: str
) -> None:
    (tmp_path / "file.png").write_text("kept")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InvalidRequestError, match=f"(?i){message}"):
        await build(to=to)

    assert (tmp_path / "file.png").read_text() == "kept"


async def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Any) -> None:
    # Permissions are not changed, because root ignores them.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)

    with pytest.raises(InvalidRequestError, match="the folder is not writable"):
        await build(to=tmp_path / "trex.png")


async def test_a_relative_path_is_refused_where_there_is_no_working_directory(
    monkeypatch: pytest.MonkeyPatch, build: Any
) -> None:
    def getcwd() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", getcwd)

    with pytest.raises(InvalidRequestError, match="trex is relative, and there is no working directory"):
        await build(to="trex")


async def test_a_relative_path_stays_where_it_was_when_the_order_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()

    def move(request: httpx.Request) -> httpx.Response:
        monkeypatch.chdir(tmp_path / "there")
        return httpx.Response(200, json={"data": PIXEL_ANSWER["data"] * 2})

    client, _ = scripted(move)
    monkeypatch.chdir(tmp_path / "here")

    image = await client.generate("x", to="fox")

    assert [each.path for each in (image, *image.others)] == [Path("fox.png"), Path("fox-2.png")]
    assert (tmp_path / "here" / "fox.png").read_bytes() == PIXEL
    assert (tmp_path / "here" / "fox-2.png").read_bytes() == PIXEL
    assert list((tmp_path / "there").iterdir()) == []


def test_the_target_has_the_extension_of_the_format_and_no_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    order = generation(to=tmp_path / "link" / "fox", parameters={"output_format": "jpeg"})

    assert order.target == tmp_path.resolve() / "real" / "fox.jpg"
    assert order.to == tmp_path / "link" / "fox"
    assert generation().target is None


def test_an_extension_asks_for_the_models_own_spelling_of_a_format() -> None:
    request = {"properties": {"output_format": {"enum": [None, "png", "jpg"]}}}

    assert format_field(Path("fox.jpeg"), "acme/new", request) == {"output_format": "jpg"}
    assert format_field(Path("fox.gif"), "acme/new", {"properties": {}}) == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, 1), ({"n": 3}, 3), ({"num_images": "4"}, 4), ({"n": 0}, 1), ({"n": "many"}, 1), ({"n": 10**9}, 10)],
)
def test_an_order_expects_as_many_images_as_it_asks_for(fields: dict[str, Any], expected: int) -> None:
    assert images_expected(fields) == expected


def test_orders_that_cost_the_same_are_of_one_kind() -> None:
    kinds = [
        generation(prompt=prompt, parameters={"quality": quality}).kind
        for prompt in "ab"
        for quality in ("low", "high")
    ]

    assert kinds[0] == kinds[2] != kinds[1] == kinds[3]
