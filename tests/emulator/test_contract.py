"""Requests that schemathesis makes up from the schema: every answer fits it, and every invalid request is refused."""

from __future__ import annotations

import copy
from typing import Any

import schemathesis
from hypothesis import settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from aimlapi_images.orders import schema
from conftest import DOCUMENT, KEY

HEADERS = {"Authorization": f"Bearer {KEY}"}
SOME = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def contract(*, edits: bool) -> dict[str, Any]:
    """The document for edits alone, or for all else.

    Without the rules for the request id: the API drops a wrong one, rather than refuse the request. And with the
    rule that a field that the model lacks is refused.
    """
    document = copy.deepcopy(DOCUMENT)
    paths = document["paths"]
    document["paths"] = {path: paths[path] for path in paths if (path == schema.EDITS_PATH) == edits}
    for path in {schema.EDITS_PATH, schema.GENERATIONS_PATH} & document["paths"].keys():
        operation = document["paths"][path]["post"]
        del operation["parameters"]
        (content,) = operation["requestBody"]["content"].values()
        body = content["schema"]
        while "$ref" in body:
            body = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
        body["additionalProperties"] = False
    return document


@schemathesis.openapi.from_dict(contract(edits=False)).parametrize()
@SOME
def test_answers_fit_the_schema(case: schemathesis.Case[Any], emulator_url: str) -> None:
    answer = case.call(base_url=emulator_url, headers=HEADERS)

    case.validate_response(answer)


# The coverage phase of schemathesis cannot validate the files that it makes up.
WITHOUT_COVERAGE = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": False}}})


@schemathesis.openapi.from_dict(contract(edits=True), config=WITHOUT_COVERAGE).parametrize()
@SOME
def test_answers_to_edits_fit_the_schema(case: schemathesis.Case[Any], emulator_url: str) -> None:
    answer = case.call(base_url=emulator_url, headers=HEADERS)

    # The schema does not say what makes a file an image, so that hardly any made-up file is one.
    case.validate_response(answer, excluded_checks=[positive_data_acceptance])
