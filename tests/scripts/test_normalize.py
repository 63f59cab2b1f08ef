"""Schemas of other models, one for each known class of defect: each gives a working client."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import update_schema
from conftest import ROOT
from own_schema import STORED
from published import PATH, changed, fields_of, project, schema
from schema_tools.normalize import normalize

PROMPT = {"prompt": {"type": "string"}}
BUFFER = {
    "type": "object",
    "properties": {
        "buffer": {"anyOf": [{"nullable": True}, {"type": "object", "properties": {"data": {"type": "array"}}}]},
        "mimetype": {"type": "string"},
        "originalname": {"type": "string"},
    },
    "required": ["mimetype", "originalname"],
}
PRESETS = ["square_hd", "landscape_16_9"]
REQUEST_ID = {"name": "x-client-request-id", "in": "header", "schema": {"type": "string"}}
KEY = {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "string"}}


def everything_at_once() -> dict[str, Any]:
    fields = {
        **PROMPT,
        "num_images": {"type": "number", "minimum": 1, "maximum": 4, "default": 1},
        "image_size": {
            "title": "Size",
            "anyOf": [
                {"nullable": True},
                {"title": "Size", "type": "object", "properties": {"width": {"type": "integer", "default": "512"}}},
                {"type": "string", "enum": [*PRESETS, None], "nullable": True},
            ],
            "default": "square_hd",
        },
        "style": {"type": "string", "enum": ["a", "b"], "nullable": True, "default": None},
    }
    document = schema("acme/everything", fields, required=("prompt",), security=[{"access-token": []}])
    operation = document["paths"][PATH]["post"]
    operation["parameters"] = [REQUEST_ID, KEY]
    operation["responses"] = {"201": {}}
    body = operation["requestBody"]
    operation["requestBody"] = {"$ref": "#/components/requestBodies/Body"}
    document["paths"][PATH.removeprefix("/v1")] = {"post": {**operation, "operationId": "_images_generations"}}
    document["components"] = {
        "securitySchemes": {"access-token": {"type": "http", "scheme": "bearer"}},
        "requestBodies": {"Body": body},
        "schemas": {"Image.v1.Unrelated": {"type": "object"}, "Chat": {"$ref": "#/components/schemas/Nowhere"}},
    }
    return document


def in_components() -> dict[str, Any]:
    document = schema("acme/components", {**PROMPT, "size": {"$ref": "#/components/schemas/Size"}})
    document["components"] = {
        "schemas": {
            "Size": {"type": "string", "enum": ["512x512"], "default": "512x512"},
            **{f"Unrelated{number}": {"type": "object", "title": "ImageGenerationRequest"} for number in range(50)},
        }
    }
    return document


def two_paths() -> dict[str, Any]:
    document = schema("acme/two-paths", PROMPT)
    document["paths"][PATH.removeprefix("/v1")] = document["paths"][PATH]
    return document


def short_path() -> dict[str, Any]:
    document = schema("acme/short-path", PROMPT)
    document["paths"] = {PATH.removeprefix("/v1"): document["paths"][PATH]}
    return document


# The model's schema, and what a call with these options is to send beside model and prompt.
MODELS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("no description of the response", schema("acme/plain", PROMPT, required=("prompt",)), {}),
    ("201 without content", schema("acme/201", PROMPT, responses={"201": {"description": ""}}), {}),
    ("no response at all", schema("acme/mute", PROMPT, responses={}), {}),
    (
        "nullable beside an enum, and null as default",
        schema(
            "acme/nullable",
            {
                **PROMPT,
                "style": {"type": "string", "nullable": True, "enum": ["a", "b", None], "default": None},
                "loras": {"type": "array", "nullable": True, "items": {"type": "string", "nullable": True}},
            },
        ),
        {"style": "b", "loras": ["x", None]},
    ),
    (
        "defaults that do not fit",
        schema(
            "acme/defaults",
            {
                **PROMPT,
                "max_resolution": {"type": "integer", "enum": [720, 1080], "default": "1080"},
                "steps": {"type": "array", "items": {"type": "integer", "default": "25"}},
                "safe": {"type": "boolean", "default": "true"},
            },
        ),
        {"max_resolution": 720, "steps": [3]},
    ),
    (
        "empty branches",
        schema(
            "acme/branches",
            {
                **PROMPT,
                "image_size": {
                    "anyOf": [
                        {},
                        {"type": "object", "properties": {"width": {"type": "integer"}, "height": {"type": "integer"}}},
                        {"type": "string", "enum": PRESETS},
                    ]
                },
                "only": {"oneOf": [{"nullable": True}, {"type": "string"}, {"nullable": True}]},
                "anything": {"anyOf": [{}, {"nullable": True}]},
                "all": {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"b": {}}}]},
            },
        ),
        {"image_size": {"width": 640, "height": 480}, "only": "x", "anything": [1, {}], "all": {"a": 1}},
    ),
    (
        "titles that clash",
        schema(
            "acme/titles",
            {
                **PROMPT,
                "first": {
                    "type": "object",
                    "title": "ImageGenerationRequest",
                    "properties": {"a": {"type": "integer"}},
                },
                "second": {"type": "object", "title": "Thing", "properties": {"b": {"type": "integer"}}},
                "third": {"type": "string", "title": "Thing", "enum": ["x"]},
            },
        ),
        {"first": {"a": 1}, "second": {"b": 2}, "third": "x"},
    ),
    ("components full of other things", in_components(), {"size": "512x512"}),
    ("two paths", two_paths(), {}),
    ("the path without /v1", short_path(), {}),
    ("security of its own", schema("acme/security", PROMPT, security=[{"token": []}]), {}),
    (
        "counts that are numbers",
        schema("acme/counts", {**PROMPT, "num_images": {"type": "number", "minimum": 1, "maximum": 4, "default": 1}}),
        {"num_images": 3},
    ),
    ("the request id and the key as headers", schema("acme/headers", PROMPT, parameters=[REQUEST_ID, KEY]), {}),
    (
        "values of other types",
        schema(
            "acme/values",
            {
                **PROMPT,
                "raw": {"type": "boolean", "enum": [False], "default": False},
                "mixed": {"enum": ["auto", 1, 2]},
                "level": {"type": "string", "enum": ["1", "2"], "default": 2},
                "count": {"enum": [1.0, 2.0]},
            },
        ),
        {"raw": False, "mixed": 2, "level": "1", "count": 2},
    ),
    (
        "OpenAPI 3.1",
        {
            **schema(
                "acme/modern",
                {
                    **PROMPT,
                    "seed": {"type": ["integer", "null"], "exclusiveMinimum": 0, "examples": [1]},
                    "mode": {"const": "fast"},
                    "guide": {"type": ["string", "number"], "required": True},
                },
            ),
            "openapi": "3.1.0",
        },
        {"seed": 1, "mode": "fast", "guide": 0.5},
    ),
    (
        "names that Python has for itself",
        schema("acme/names-2.0", {**PROMPT, "class": {"type": "string"}, "from": {"type": "integer"}}),
        {"class": "x", "from": 1},
    ),
    ("the same name as another model's", schema("acme/names/2-0", PROMPT), {}),
    ("every defect at once", everything_at_once(), {"num_images": 2, "image_size": {"width": 512}, "style": "a"}),
]


# A schema with files, at a path that `ImageClient` does not use.
FILES = schema(
    "acme/files",
    {
        **PROMPT,
        "image": {"anyOf": [BUFFER, {"type": "array", "items": BUFFER, "maxItems": 16}]},
        "mask": {"type": "object", "description": "A local PNG file used as a mask."},
    },
    required=("prompt", "image"),
)
FILES["paths"] = dict.fromkeys(("/v1/images/variations", "/images/variations"), FILES["paths"][PATH])

# A schema with defects that cannot be repaired.
BROKEN = schema(
    "acme/broken",
    {
        **PROMPT,
        "strength": {"type": "number", "enum": [0.5, 1]},
        "steps": {"type": "integer", "default": "many"},
        "none": {"enum": [None]},
        "mode": 7,
        "image": BUFFER,
        "size": {"type": "integer", "enum": ["big"]},
    },
    responses={"200": {}, "2XX": {}, "400": 7},
)
BROKEN["paths"]["/images/generations"] = {"post": {**BROKEN["paths"][PATH]["post"], "responses": {}}, "get": {}}


@attrs.frozen
class Added:
    """Everything that one call of update_schema.py left: folders, and its report."""

    openapi: Path
    output: Path
    report: str


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Added:
    """One client for all of the schemas above: generating takes seconds."""
    folder = tmp_path_factory.mktemp("models")
    openapi, output = project(folder)
    documents = [*(document for _, document, _ in MODELS), FILES, BROKEN]
    sources = [folder / f"{number}.json" for number in range(len(documents))]
    for source, document in zip(sources, documents, strict=True):
        source.write_text(json.dumps(document), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()) as report:
        code = update_schema.main(["--add", *map(str, sources), "--openapi", str(openapi), "--output", str(output)])
    assert code == 0
    return Added(openapi, output, report.getvalue())


@pytest.fixture
def generated(added: Added) -> Path:
    """The folder of the generated client."""
    return added.output


def run(generated: Path, code: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(generated), str(ROOT / "src")]), "COLUMNS": "100"}
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


CALLS = """
import asyncio, json, sys
import httpx
from aimlapi_images import ImageClient, ImageError, emulator

class Watched(httpx.AsyncBaseTransport):
    def __init__(self):
        self.inner, self.sent = emulator.transport(), []
    async def handle_async_request(self, request):
        if request.method == "POST":
            self.sent.append(json.loads(request.content))
        return await self.inner.handle_async_request(request)

async def main():
    watched = Watched()
    async with ImageClient("any-key", transport=watched) as client:
        for prompt, arguments in json.loads(sys.argv[1]):
            try:
                image = await client.generate(prompt, **arguments)
                print(json.dumps([watched.sent.pop(), f"{image.width}x{image.height} {image.format}"]))
            except ImageError as error:
                print(json.dumps([watched.sent.pop() if watched.sent else None, str(error)]))

asyncio.run(main())
"""


def call(generated: Path, calls: list[tuple[str, dict[str, Any]]]) -> list[list[Any]]:
    return [json.loads(line) for line in run(generated, CALLS, json.dumps(calls)).splitlines()]


def model_of(document: dict[str, Any]) -> str:
    operation = next(iter(document["paths"].values()))["post"]
    if "$ref" in operation["requestBody"]:
        return str(document["info"]["title"])
    return str(fields_of(operation)["model"]["enum"][0])


def test_each_model_sends_exactly_the_given_fields_and_returns_an_image(generated: Path) -> None:
    calls = [("A fox", {"model": model_of(document), "options": options}) for _, document, options in MODELS]

    answers = call(generated, calls)

    for (name, document, options), (sent, image) in zip(MODELS, answers, strict=True):
        assert sent == {"model": model_of(document), "prompt": "A fox", **options}, name
        assert image.endswith(" png"), name


def test_the_client_for_all_models_passes_strict_type_checks(generated: Path, tmp_path: Path) -> None:
    use = tmp_path / "use.py"
    use.write_text(
        "from aimlapi_rest.models import AcmeCountsRequest, AcmeNames20Request, ImageGenerationRequest\n"
        "AcmeCountsRequest(model='acme/counts', prompt='x', num_images=2)\n"
        "AcmeNames20Request(model='acme/names-2.0', prompt='x', class_='y', from_=1)\n"
        "ImageGenerationRequest(model='openai/gpt-image-1-5', prompt='x', size='1024x1024')\n"
        "ImageGenerationRequest(model='acme/counts', prompt='x')  # type: ignore[arg-type]\n"
    )
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\n")

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", settings, generated / "aimlapi_rest", use],
        env={**os.environ, "MYPYPATH": str(generated)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_request_of_the_first_model_does_not_change(generated: Path, tmp_path: Path) -> None:
    _, first = project(tmp_path)
    names = ("image_generation_request.py", "image_generation_request_size.py", "image_data.py")
    for name in names:
        made = ast.dump(ast.parse((generated / "aimlapi_rest/models" / name).read_text(encoding="utf-8")))
        kept = ast.dump(ast.parse((first / "aimlapi_rest/models" / name).read_text(encoding="utf-8")))
        assert made == kept, name


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("acme/counts", {"num_images": 5}, "num_images must be at most 4, not 5"),
    (
        "acme/counts",
        {"image_size": "square"},
        "acme/counts does not have image_size; its fields are prompt, num_images",
    ),
    ("openai/gpt-image-1-5", {"num_images": 2}, "openai/gpt-image-1-5 does not have num_images"),
    ("acme/counts", {"num_image": 2}, "acme/counts does not have num_image (did you mean num_images?)"),
    ("acme/components", {"size": "1024x1024"}, "size must be '512x512', not '1024x1024'"),
    ("acme/branches", {"image_size": {"width": "1"}}, "image_size.width must be a whole number, not '1'"),
    ("acme/branches", {"image_size": "huge"}, "image_size must be one of 'square_hd'"),
    ("acme/branches", {"image_size": 7}, "must be an object with width, height or one of 'square_hd'"),
    ("acme/values", {"raw": True}, "raw has to be false"),
    ("acme/modern", {"guide": 0.5, "seed": 0}, "seed must be more than 0, not 0"),
    ("acme/modern", {"guide": []}, "guide must be a string or a number, not []"),
    ("acme/modern", {}, "guide is missing"),
    ("acme/nullable", {"style": "c"}, "style must be one of 'a', 'b', None, not 'c'"),
]


def test_a_request_is_validated_by_the_schema_of_its_model(generated: Path) -> None:
    answers = call(generated, [("x", {"model": model, "options": options}) for model, options, _ in WRONG])

    for (*_, message), (sent, error) in zip(WRONG, answers, strict=True):
        assert sent is None
        assert message in error


def test_an_argument_that_is_not_a_field_of_the_model_is_refused(generated: Path) -> None:
    answers = call(generated, [("x", {"model": "acme/counts", "size": "1024x1024"}), (" ", {"model": "acme/plain"})])

    assert answers == [
        [
            None,
            "acme/counts does not have size; its fields are prompt, num_images. "
            "To send a field unchecked, pass it in extra_body",
        ],
        [None, "prompt is empty"],
    ]


def test_unknown_models_are_sent_unchecked(generated: Path) -> None:
    options = {"num_images": "many", "size": "9x9"}

    ((sent, error),) = call(generated, [("x" * 33_000, {"model": "acme/nobody-knows", "options": options})])

    assert sent == {"model": "acme/nobody-knows", "prompt": "x" * 33_000, **options}
    assert "There is no model 'acme/nobody-knows'" in error


def test_the_options_of_the_command_are_those_of_the_given_model(generated: Path) -> None:
    command = "import sys\nfrom aimlapi_images.cli import main\nmain(sys.argv[1:])"

    counts = " ".join(run(generated, command, "generate", "--model", "acme/counts", "--help").split())
    branches = " ".join(run(generated, command, "generate", "--model=acme/branches", "--help").split())
    first = " ".join(run(generated, command, "generate", "--help").split())

    assert "--num-images INTEGER RANGE" in counts
    assert "--size" not in counts
    assert "--image-size TEXT OR JSON" in branches
    assert "--size [1024x1024|1024x1536|1536x1024]" in first
    assert "--num-images" not in first


def test_the_command_sends_objects_and_fields_without_an_option(generated: Path, tmp_path: Path) -> None:
    command = "import sys\nfrom aimlapi_images.cli import main\nmain(sys.argv[1:])"
    target = str(tmp_path / "fox")

    shown = run(
        generated, command, "generate", "A fox", "--model", "acme/branches", "--emulator", "--json", "-o", target,
        "--image-size", '{"width": 320, "height": 200}', "--field", "only=this",
    )  # fmt: skip

    known = json.loads(shown)
    assert (known["width"], known["height"]) == (320, 200)
    assert known["parameters"] == {
        "model": "acme/branches",
        "image_size": {"width": 320, "height": 200},
        "only": "this",
    }


def test_files_that_are_described_as_objects_are_files(added: Added) -> None:
    request = (added.output / "aimlapi_rest/models/acme_files_variations_request.py").read_text(encoding="utf-8")

    assert "image: File | list[File]" in request
    assert "mask: File | Unset" in request
    assert "to_multipart" in request
    note = "ImageClient.generate() does not use POST /v1/images/variations: only aimlapi_rest.api.images has it"
    assert note in added.report


PLACE = "POST /v1/images/generations"


@pytest.mark.parametrize(
    "note",
    [
        f"{PLACE}: request strength has values that are no literals in Python",
        f"{PLACE}: request steps has the default 'many', which its own schema forbids",
        f"{PLACE}: request none has a list of values without a value",
        f"{PLACE}: request mode is 7 in place of a schema, and is taken for anything",
        f"{PLACE}: request has a file, which this path does not take: it is sent as text",
        f"{PLACE}: request size is documented as integer, and its values are not: they are taken",
        f"{PLACE}: response 2XX is left out",
        f"{PLACE}: response 400 is left out",
        "POST /images/generations differs from /v1/images/generations, which is taken",
        "GET /images/generations has no counterpart at /v1/images/generations, and is left out",
    ],
)
def test_defects_that_cannot_be_repaired_are_reported(added: Added, note: str) -> None:
    assert note in added.report


@pytest.mark.parametrize(
    "junk",
    [
        {"type": {}},
        {"type": [5]},
        {"enum": "x"},
        {"properties": 5},
        {"items": 5},
        {"anyOf": {}},
        {"required": [{}]},
        {"minimum": "x"},
        {"maxLength": []},
        {"description": {}},
        {"nullable": "yes"},
        {"additionalProperties": 5},
    ],
)
def test_a_malformed_keyword_is_dropped_and_reported(junk: dict[str, Any]) -> None:
    ((keyword, value),) = junk.items()

    normalized = normalize(changed(lambda operation: fields_of(operation).update(new=junk)), "a test")

    assert fields_of(normalized.document["paths"][PATH]["post"])["new"] == {}
    assert normalized.notes == [
        f"a test: POST /v1/images/generations: request new has {value!r} as its {keyword}, which is left out"
    ]


def test_malformed_parameters_and_servers_are_dropped() -> None:
    document = changed(lambda operation: operation.update(parameters=[5, {"name": "x"}]))
    document["servers"].append({})

    normalized = normalize(document, "a test").document

    assert "parameters" not in normalized["paths"][PATH]["post"]
    assert normalized["servers"] == STORED["servers"]
