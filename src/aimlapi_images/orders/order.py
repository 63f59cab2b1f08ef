"""`Order`: what one paid request asks for, and the checks that all endpoints share."""

import difflib
import json
import os
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import attrs

from aimlapi_images.errors import InvalidRequestError
from aimlapi_images.media.files import check_target
from aimlapi_images.media.formats import format_of, with_extension
from aimlapi_images.media.json_values import number, shown
from aimlapi_images.orders import schema
from aimlapi_images.orders.schema import Endpoint

_DEFAULT_FORMAT: Final = "png"
_FORMAT_ALIASES: Final = {"jpg": "jpeg", "tif": "tiff"}
_COUNT_FIELDS: Final = ("n", "num_images")
# The most that any model returns. It limits how large an answer may be.
_MAX_IMAGES: Final = 10
# The schema does not say what the price depends on: these fields set the size, the quality and the number of images.
_PRICE_FIELDS: Final = (
    *("model", *_COUNT_FIELDS, "quality"),
    *("size", "image_size", "resolution", "aspect_ratio", "width", "height"),
)
_LONGEST_SUFFIX: Final = ".0123abcd.9999"  # of the request id of an attempt


@attrs.frozen
class Order:
    """One request that is paid for once, however many attempts it takes."""

    id: str  # names the order at the provider; each attempt is sent as `<id>.<nonce>.<attempt>`
    fields: Mapping[str, Any]  # of the request, apart from files
    to: Path | None  # absolute path to write the image to, or `None` to keep it in memory
    to_given: Path | None  # the same path as the caller wrote it, for messages and results
    overwrite: bool

    RESERVED: ClassVar[Collection[str]] = ("model", "prompt")  # fields that are arguments only
    ENDPOINT: ClassVar[Endpoint]

    @classmethod
    def new(
        cls,
        prompt: object,
        *,
        model: object,
        parameters: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        to: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        order: str | None = None,
    ) -> Self:
        """Check the caller's arguments, which `ImageClient` describes, and build an order.

        `parameters` are the fields that the signature of the caller names. If no field sets the format, `to` does:
        `fox.jpg` asks for a JPEG. An empty prompt is not sent to a model that works without one. Requests for a model
        that the schema does not describe are sent unchecked.
        """
        given_to = None if to is None else as_path(to, "to")
        if not isinstance(model, str) or not model.strip():
            raise InvalidRequestError(f"model must be the name of a model, got {shown(model)}")
        request = schema.request(cls.ENDPOINT, model) if model in schema.models(cls.ENDPOINT) else None
        fields: dict[str, Any] = {name: value for name, value in parameters.items() if value is not None}
        for argument, given in (("options", options), ("extra_body", extra_body)):
            if not isinstance(given, Mapping | None) or not all(isinstance(name, str) for name in given or ()):
                raise InvalidRequestError(
                    f"{argument} must be a mapping from field names to values, got {shown(given)}"
                )
            if streamed := [name for name in given or () if name in schema.STREAMING]:
                reason = "then the API would answer with a stream of events, which this client does not read"
                raise InvalidRequestError(f"{argument} cannot set {', '.join(streamed)}: {reason}")
            if twice := [name for name in given or () if name in fields or name in cls.RESERVED]:
                raise InvalidRequestError(f"{argument} cannot set {', '.join(twice)}: pass it as an argument")
            if argument == "options":
                fields |= {name: value for name, value in (given or {}).items() if value is not None}
        extra = dict(extra_body or {})
        if request is not None and "output_format" not in fields | extra:
            fields |= format_field(given_to, model, request)
        fields = _plain_copy({"model": model, "prompt": prompt, **fields})
        if request is not None:
            if prompt == "" and "prompt" not in request.get("required", ()):
                del fields["prompt"]
            _check_names(fields, request)
        found = [each for each in schema.problems(cls.ENDPOINT, fields) if each.field not in extra]
        if request is None:  # then only a missing or empty prompt is a problem
            found = [each for each in found if each.field == "prompt" and each.rule != "maxLength"]
        if found:
            raise InvalidRequestError("; ".join(dict.fromkeys(each.text for each in found)))
        return cls.build(order, fields | _plain_copy(extra), given_to, overwrite)

    @classmethod
    def build(cls, order: str | None, fields: Mapping[str, Any], to: Path | None, overwrite: bool) -> Self:
        """A new order with this id or a new one, checked before it costs anything."""
        if not isinstance(order, str | None) or order == "":
            raise InvalidRequestError(f"order must be a non-empty string, got {shown(order)}")
        name, target = order or uuid.uuid4().hex, to and absolute(to)
        built = cls(id=name, fields=fields, to=target, to_given=to, overwrite=bool(overwrite))
        # The documented limit of 128 characters includes the longest suffix.
        if problems := schema.request_id_problems(name + _LONGEST_SUFFIX):
            raise InvalidRequestError(
                f"order {shown(name)} cannot be used as a request id: with its attempt, {problems[0].text}"
            )
        try:
            if to is not None:
                check_target(to, built.output_format, overwrite=overwrite)
        except OSError as error:
            hint = " (to replace it, pass overwrite=True)" if isinstance(error, FileExistsError) else ""
            message = f"the image cannot be written: {error.strerror}: {error.filename}{hint}"
            raise InvalidRequestError(message) from error
        return built

    @property
    def prompt(self) -> str:
        return str(self.fields.get("prompt", ""))

    @property
    def parameters(self) -> dict[str, Any]:
        return {name: value for name, value in self.fields.items() if name != "prompt"}

    def request(self, request_id: str) -> dict[str, Any]:
        """Keyword arguments of `httpx.AsyncClient.build_request` for one attempt; for kinds of orders that are sent."""
        raise NotImplementedError

    @property
    def kind(self) -> tuple[object, ...]:
        """The fields that decide the price: orders of one kind cost about the same."""
        parameters = self.parameters
        return type(self), *(repr(parameters.get(name)) for name in _PRICE_FIELDS)

    @property
    def target(self) -> Path | None:
        """The file to be written, without symbolic links, if the image comes in the format that was asked for."""
        return None if self.to is None else Path(with_extension(self.to.resolve(), self.output_format))

    def as_given(self, path: Path) -> Path:
        """A written path in the form of the caller's `to`: relative if that was relative."""
        return path if self.to_given is None else self.to_given.with_name(path.name)

    @property
    def output_format(self) -> str:
        """The format that was asked for, or else the API's default."""
        named = self.to_given and format_of(self.to_given)
        return normalized_format(self.parameters.get("output_format") or named or _DEFAULT_FORMAT)


def images_expected(fields: Mapping[str, Any]) -> int:
    """How many images a request asks for, from 1 to 10."""
    counts = (number(fields.get(name)) or 1 for name in _COUNT_FIELDS)
    return int(min(max(1, *counts), _MAX_IMAGES))


def new_fetch(url: object, *, to: str | os.PathLike[str] | None, overwrite: bool) -> Order:
    """An order for an image that is paid for and fetched by its URL."""
    if not isinstance(url, str):
        raise InvalidRequestError(f"url must be the URL of an image, got {shown(url)}")
    given = None if to is None else as_path(to, "to")
    return Order.build(None, {}, given, overwrite)


def as_path(value: object, name: str) -> Path:
    """An argument that must be a path: not one of bytes, and without null characters."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise InvalidRequestError(f"{name} must be a path, got {shown(value)}")
    if "\0" in text:
        raise InvalidRequestError(f"{name} is not a valid path: {shown(text)}")
    return Path(text)


def absolute(path: Path) -> Path:
    """The absolute path, which a later change of the working directory does not move."""
    try:
        return path.absolute()
    except OSError as error:
        raise InvalidRequestError(f"{path} is relative, and there is no working directory: {error.strerror}") from error


def format_field(to: Path | None, model: str, request: Mapping[str, Any]) -> dict[str, str]:
    """The field `output_format` that the extension of a path asks for. Without a list of formats, the API chooses."""
    asked = None if to is None else format_of(to)
    known = request["properties"].get("output_format", {}).get("enum", ())
    if asked is None or not known:
        return {}
    for value in known:
        if normalized_format(value) == asked:
            return {"output_format": value}
    made = ", ".join(str(value) for value in known if value)
    raise InvalidRequestError(f"{to}: {model} cannot make {asked}, only {made}: change the extension or output_format")


def normalized_format(name: object) -> str:
    """A format's usual name, from a model's name for it."""
    return _FORMAT_ALIASES.get(str(name), str(name))


def _check_names(fields: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    """Refuse fields that the model does not have: the API would ignore them, and bill the image."""
    known = [name for name in request["properties"] if name != "model"]
    unknown = []
    for name in fields.keys() - request["properties"].keys():
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        unknown.append(shown(name).strip("'") + (f" (did you mean {close[0]}?)" if close else ""))
    if unknown:
        raise InvalidRequestError(
            f"{fields['model']} does not have {', '.join(sorted(unknown))}; its fields are {', '.join(known)}. "
            "To send a field unchecked, pass it in extra_body"
        )


def _plain_copy(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Copy fields as plain JSON values: the order may wait for long, and the caller's objects may change."""
    copied = {}
    for name, value in fields.items():
        try:
            text = json.dumps([name, value], ensure_ascii=False, allow_nan=False)
            copied[name] = json.loads(text.encode("utf-8"))[1]
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequestError(f"field {name!a} cannot be sent: {error}") from error
    return copied
