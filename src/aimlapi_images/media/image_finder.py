"""Find the images in an answer: in the documented fields, or wherever else a reader would see them."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import attrs

from aimlapi_images.media.formats import Payload
from aimlapi_images.media.json_values import mapping, text

_MOST_URLS: Final = 1_000  # that are considered
_MOST_GUESSES: Final = 10
_URL: Final = re.compile(r"""https?:(?:\\*/){2}[^\s"'<>()]+""")
_IMAGE_URL: Final = re.compile(r"\.(?:png|jpe?g|webp|gif)(?:[?#]|$)", re.IGNORECASE)
_IMAGE_FIELD: Final = re.compile(
    r"^(?!.*(?:error|doc|help|status|prompt))"
    r".* (?:\w*(?:image|img|b64)\w*|\w*ur[li]s?|src|href|link|data|outputs?|results?) ",
    re.IGNORECASE,
)


@attrs.frozen
class ImageEntry:
    """One image of an answer: it came as a `payload`, or is at a `url`, or both."""

    payload: Payload | None = None
    url: str | None = None
    revised_prompt: str | None = None


def find_images(document: object, payloads: Mapping[str, Payload]) -> tuple[ImageEntry, ...]:
    """Find the images in a JSON document, or in the text of one that could not be parsed.

    The documented form is `data[*].b64_json` and `data[*].url`. If it has no image, every payload is one, whatever its
    field. If there is no payload either, the image is at a URL: in a field named after an image, a URL or a result
    (best if it ends as an image's does), or one that ends so in any text. Names stand for the payloads in the document.
    """
    payloads = {name: payload for name, payload in payloads.items() if payload.data or payload.problem}
    data = mapping(document).get("data")
    entries = (_documented(mapping(each), payloads) for each in (data if isinstance(data, list) else [data]))
    return (
        tuple(entry for entry in entries if entry is not None)
        or tuple(ImageEntry(payload) for payload in payloads.values())
        or tuple(ImageEntry(url=url) for url in _urls(document))
    )


def _documented(fields: Mapping[str, Any], payloads: Mapping[str, Payload]) -> ImageEntry | None:
    """An entry of `data`, judged by value: empty strings and null read as missing."""
    url, revised_prompt = text(fields.get("url")), fields.get("revised_prompt")
    payload = payloads.get(text(fields.get("b64_json"))) or payloads.get(url)
    url = "" if url in payloads else url
    if payload is None and not url:
        return None
    return ImageEntry(payload, url or None, revised_prompt if isinstance(revised_prompt, str) else None)


def _urls(document: object) -> list[str]:
    every = ((path, url.replace("\\", "")) for path, words in _strings(document) for url in _URL.findall(words))
    found = list(islice(every, _MOST_URLS))
    named = [url for path, url in found if _IMAGE_FIELD.search(path)]
    best = list(filter(_IMAGE_URL.search, named)) or named or [url for _, url in found if _IMAGE_URL.search(url)]
    return list(dict.fromkeys(best))[:_MOST_GUESSES]


def _strings(document: object) -> Iterator[tuple[str, str]]:
    """Every string of a document, with the last of the keys that lead to it."""
    left: list[tuple[str, object]] = [("", document)]
    while left:
        path, value = left.pop()
        if isinstance(value, str):
            yield f" {path} ", value
        elif isinstance(value, list):
            left += [(path, each) for each in reversed(value)]
        elif isinstance(value, dict):
            left += [(f"{path} {key}"[-100:], each) for key, each in reversed(value.items())]
