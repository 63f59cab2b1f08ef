"""Orders for images from a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from aimlapi_images import InvalidRequestError
from aimlapi_images.orders import schema
from aimlapi_images.orders.generation import GenerationOrder
from conftest import UNCHECKED, scripted

MODEL = "openai/gpt-image-1-5"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 2}, "n .*2"),
        ({"seed": {1, 2}}, "field 'seed' cannot be sent: .*set"),
        ({"seed": float("nan")}, "field 'seed' cannot be sent"),
        ({"seed": 1}, "does not have seed; its fields are prompt, .*extra_body"),
    ],
)
async def test_an_invalid_request_is_not_sent(options: dict[str, Any], message: str) -> None:
    client, script = scripted()

    with pytest.raises(InvalidRequestError, match=message) as caught:
        await client.generate("x", options=options)

    assert isinstance(caught.value, ValueError)
    assert script.requests == []


def test_a_field_of_another_model_is_refused_with_the_fields_of_this_one() -> None:
    with pytest.raises(InvalidRequestError, match=r"1-5 does not have strength; its fields are prompt, .*size"):
        GenerationOrder.new("x", model=MODEL, parameters={"strength": 0.5})


def test_an_extra_body_is_sent_unchecked() -> None:
    extra = {"brand_new": {"a": (1, 2)}, "size": "7x7", "n": None}

    order = GenerationOrder.new("x", model=MODEL, parameters={"size": None}, extra_body=extra, order=UNCHECKED)

    assert order.request("o.1")["json"] == {
        "model": MODEL,
        "prompt": "x",
        "brand_new": {"a": [1, 2]},
        "size": "7x7",
        "n": None,
    }


def test_a_required_field_in_an_extra_body_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    request = {**schema.request("generations"), "required": ["model", "prompt", "size", "quality"]}
    monkeypatch.setattr(schema, "_read", {"generations": [request], "request_id": {}}.get)
    for cached in (schema.request, schema.models, schema._validator):
        cached.cache_clear()
        monkeypatch.setattr(schema, cached.__name__, cached.__wrapped__)

    with pytest.raises(InvalidRequestError, match=r"^quality is missing$"):
        GenerationOrder.new("x", model=MODEL, parameters={}, extra_body={"size": "7x7"})


def test_the_request_is_that_of_the_schema() -> None:
    request = GenerationOrder.new("x", model=MODEL, parameters={}, order="o").request("o.2")

    assert (request["method"], request["url"]) == ("post", "/v1/images/generations")
    assert request["headers"] == {"Content-Type": "application/json", "X-Client-Request-Id": "o.2"}
