"""The generated client, used without the facade: no answer makes it fail."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_rest import AuthenticatedClient
from aimlapi_rest.api.account import get_billing, get_logs
from aimlapi_rest.api.images import edit_image, generate_image
from aimlapi_rest.errors import UnexpectedStatus
from aimlapi_rest.models import (
    Billing,
    ErrorResponse,
    ImageData,
    ImageEditRequest,
    ImageGenerationRequest,
    ImageGenerationResponse,
    RequestLog,
)
from aimlapi_rest.types import UNSET
from conftest import KEY

GENERATE: dict[str, Any] = {"body": ImageGenerationRequest(model="openai/gpt-image-1-5", prompt="a fox")}
EDIT: dict[str, Any] = {"body": ImageEditRequest(model="openai/gpt-image-1-5", prompt="a fox", image=[])}
CALLS: list[tuple[ModuleType, dict[str, Any]]] = [
    (generate_image, GENERATE),
    (edit_image, EDIT),
    (get_billing, {}),
    (get_logs, {}),
]
# Bodies that no schema describes, and any status with them.
FOREIGN = [
    *(b"null", b'"busy"', b"[]", b'[["data", 1]]', b"5", b"true", b"NaN", b"", b" ", b"<html>", b"{", b"\xff\xfe\xfa"),
    b"[" * 100_000,
]


def answering(status: int, content: bytes, **options: Any) -> AuthenticatedClient:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, content=content))
    return AuthenticatedClient("https://api.test", token=KEY, httpx_args={"transport": transport}, **options)


def parsed(document: object, status: int = 200) -> Any:
    return generate_image.sync(client=answering(status, json.dumps(document).encode()), **GENERATE)


@pytest.mark.parametrize("content", FOREIGN)
@pytest.mark.parametrize("status", [200, 201, 400, 429, 503])
@pytest.mark.parametrize(("module", "arguments"), CALLS)
def test_a_body_that_the_schema_does_not_describe_is_none(
    module: ModuleType, arguments: dict[str, Any], status: int, content: bytes
) -> None:
    answer = module.sync_detailed(client=answering(status, content), **arguments)

    assert (answer.parsed, answer.status_code, answer.content) == (None, status, content)


@pytest.mark.parametrize("status", [204, 301, 418, 520, 524, 530, 599])
async def test_a_status_that_the_schema_does_not_list_is_none(status: int) -> None:
    client = answering(status, b'{"data": []}')

    assert await generate_image.asyncio(client=client, **GENERATE) is None
    assert (await generate_image.asyncio_detailed(client=client, **GENERATE)).status_code == status


@pytest.mark.parametrize(("status", "content"), [(200, b"null"), (200, b"<html>"), (520, b"{}")])
def test_such_answers_are_errors_if_the_caller_asks_for_them(status: int, content: bytes) -> None:
    client = answering(status, content, raise_on_unexpected_status=True)

    with pytest.raises(UnexpectedStatus, match=str(status)) as caught:
        generate_image.sync(client=client, **GENERATE)

    assert caught.value.content == content


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": None, "meta": None},
        {"data": [{"url": None, "b64_json": None}], "meta": {"usage": None}},
        {"data": [{}], "meta": {"usage": {}}, "new": [1]},
        {"data": [], "meta": {"usage": {"credits_used": None, "usd_spent": None}}},
    ],
)
def test_any_field_of_an_image_may_be_absent_or_null(document: dict[str, Any]) -> None:
    found = parsed(document)

    assert isinstance(found, ImageGenerationResponse)
    assert all(isinstance(each, ImageData) for each in found.data or ())
    assert found.to_dict() == document


def test_a_field_of_another_type_keeps_its_value() -> None:
    found = parsed({"data": "busy", "created": "now"})

    assert (found.data, found.created, found.meta) == ("busy", "now", UNSET)


@pytest.mark.parametrize(
    ("module", "kind", "document"),
    [
        (get_billing, Billing, {"current_balance": None}),
        (get_logs, RequestLog, {"data": None, "pagination": None}),
        (get_logs, RequestLog, {"data": [{"cost": None, "tokens": {"input": None}, "created": None}]}),
    ],
)
def test_the_accounts_fields_may_be_null(module: ModuleType, kind: type, document: dict[str, Any]) -> None:
    found = module.sync(client=answering(200, json.dumps(document).encode()))

    assert isinstance(found, kind)
    assert found.to_dict() == document  # type: ignore[attr-defined]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "url", "meta", "usage", "error", "message", "x"]), inner, max_size=4)
    ),
)


@given(document=JSON, status=st.sampled_from([200, 400, 500]))
def test_no_json_makes_it_fail(document: object, status: int) -> None:
    found = parsed(document, status)

    expected = ImageGenerationResponse if status == 200 else ErrorResponse
    assert found is None or isinstance(found, expected)
    assert isinstance(document, dict) or found is None
