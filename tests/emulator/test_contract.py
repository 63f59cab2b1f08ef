"""Requests that schemathesis makes up from the schema: every answer fits it, and every invalid request is refused."""

from __future__ import annotations

import copy
import io
import re
from typing import Any

import schemathesis
from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection
from schemathesis.transport.serialization import Binary

from aimlapi_images.orders import schema
from conftest import DOCUMENT, KEY

SOME = settings(max_examples=25, deadline=None, derandomize=True, database=None)
WITHOUT_COVERAGE = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": False}}})


def picture() -> bytes:
    """An image to edit that is a mask as well: a half of it is transparent."""
    image = Image.new("RGBA", (64, 64), "teal")
    image.paste((0, 0, 0, 0), (0, 0, 32, 64))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


# The schema does not say what makes a file an image.
schemathesis.openapi.format("binary", st.just(Binary(picture())))


def contract(*, edits: bool) -> dict[str, Any]:
    """The document for edits alone, or for all else, with the rule that a field that the model lacks is refused."""
    document = copy.deepcopy(DOCUMENT)
    paths = document["paths"]
    document["paths"] = {path: paths[path] for path in paths if (path == schema.EDITS_PATH) == edits}
    for path in {schema.EDITS_PATH, schema.GENERATIONS_PATH} & document["paths"].keys():
        (content,) = document["paths"][path]["post"]["requestBody"]["content"].values()
        body = content["schema"]
        while "$ref" in body:
            body = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
        body["additionalProperties"] = False
    return document


def check(case: schemathesis.Case[Any], base_url: str) -> None:
    """Send a request, and apply all checks to its answer. A wrong request id is dropped: it refuses no request."""
    answer = case.call(base_url=base_url, headers={"Authorization": f"Bearer {KEY}"})
    parts = case.meta.components.items() if case.meta else ()
    dropped = {location for location, part in parts if part.mode.is_negative} == {ParameterLocation.HEADER}
    case.validate_response(answer, excluded_checks=[negative_data_rejection] if dropped else [])
    echoed = answer.headers.get("x-client-request-id", ())
    assert all(re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", each) for each in echoed)


@schemathesis.openapi.from_dict(contract(edits=False)).parametrize()
@SOME
def test_answers_fit_the_schema(case: schemathesis.Case[Any], emulator_url: str) -> None:
    check(case, emulator_url)


# The coverage phase of schemathesis cannot validate the files that it makes up.
@schemathesis.openapi.from_dict(contract(edits=True), config=WITHOUT_COVERAGE).parametrize()
@SOME
def test_answers_to_edits_fit_the_schema(case: schemathesis.Case[Any], emulator_url: str) -> None:
    check(case, emulator_url)
