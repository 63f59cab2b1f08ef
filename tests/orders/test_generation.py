"""Orders for images from a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from aimlapi_images import InvalidRequestError
from aimlapi_images.orders.generation import new_generation
from conftest import scripted

MODEL = "openai/gpt-image-1-5"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 2}, "n .*2"),
        ({"seed": {1, 2}}, "field 'seed' cannot be sent: .*set"),
        ({"seed": float("nan")}, "field 'seed' cannot be sent"),
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
        new_generation("x", model=MODEL, parameters={"strength": 0.5})


def test_new_fields_are_sent() -> None:
    order = new_generation("x", model=MODEL, parameters={"size": None}, options={"brand_new": {"a": (1, 2)}})

    assert order.request("o.1")["json"] == {"model": MODEL, "prompt": "x", "brand_new": {"a": [1, 2]}}


def test_the_request_is_that_of_the_schema() -> None:
    request = new_generation("x", model=MODEL, parameters={}, order="o").request("o.2")

    assert (request["method"], request["url"]) == ("post", "/v1/images/generations")
    assert request["headers"] == {"Content-Type": "application/json", "X-Client-Request-Id": "o.2"}
