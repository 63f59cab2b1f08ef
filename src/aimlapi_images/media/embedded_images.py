"""Images as base64 in the body of an answer: cut out of it, and decoded.

An image is recognized by the beginning of its base64, wherever it stands, so that neither another field nor a fault
in the JSON around it loses a paid image. In the documented field, any text counts as one.
"""

import binascii
import re
from typing import Final

import pybase64

from aimlapi_images.media.formats import Payload, signature

MAX_LEFT_BYTES: Final = 8 * 2**20  # of a body beside its images: as large as a page of the log may be
_MOST_IMAGES: Final = 100
# Where an image's text begins. Slashes may be escaped.
_START: Final = re.compile(
    rb"""
    (?: "b64_json" \s{0,99} : \s{0,99} " (?!["h])            # any value but an empty one or a web address
      | (?: \A | ["'(>] ) (?= (?: \s | \\+[nrt] ){0,9} (?:  # anywhere: the beginning of
            (?i: data:image \\*/ )                          # a data URL
          | iVBORw0KGgo                                     # a PNG
          | \\*[/_] 9j \\*[/_] (?: \\*[\w+/-] ){8}           # a JPEG
          | UklGR (?: \\*[\w+/-] ){6} XRUJQ                 # a WebP
          | R0lGOD[dl]h                                     # a GIF
        )))
    (?=.)
    """,
    re.DOTALL | re.VERBOSE,
)
_CLOSING: Final = {b"'": b"'", b"(": b")", b">": b"<"}
# Escapes of white space, slashes and any character. A body that is JSON within JSON escapes them more than once.
_ESCAPE: Final = re.compile(rb"\\\\{0,8}(?:[bfnrt]|(?=/))")
_ESCAPED_CODE: Final = re.compile(rb"\\\\{0,8}u([0-9A-Fa-f]{4})")
_DATA_URL: Final = re.compile(rb"\s*data:[^,]{0,250},", re.IGNORECASE)
_WHITE_SPACE: Final = b" \t\r\n\v\f"
_STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
_FOREIGN: Final = re.compile(rb"[^A-Za-z0-9+/]")


def cut_images(body: bytes | bytearray) -> tuple[bytes | bytearray, dict[str, Payload]]:
    """Cut the images out of a body, and put a name such as `<image 1>` in the place of each.

    Returns the rest, of which no more than `MAX_LEFT_BYTES` are looked at, and the images by name.
    """
    if signature(body):  # an image in place of JSON
        return b"<image 1>", {"<image 1>": Payload.of(bytes(body))}
    left, position = bytearray(), 0
    payloads: dict[str, Payload] = {}
    while start := _START.search(body, position, position + MAX_LEFT_BYTES - len(left)):
        if len(payloads) == _MOST_IMAGES:
            break
        name = f"<image {len(payloads) + 1}>"
        left += body[position : start.end()] + name.encode()
        position = body.find(_CLOSING.get(start[0][-1:], b'"'), start.end())
        if position < 0:
            position = len(body)
        while body[position - 1] == ord("\\"):  # it escapes the closing character
            position -= 1
        payloads[name] = decode_base64(memoryview(body)[start.end() : position])
    return left + body[position:], payloads


def decode_base64(text: bytes | memoryview) -> Payload:
    """Decode an image's base64 as far as it can be understood.

    White space, the alphabet for URLs, missing padding, the prefix of a data URL, and JSON's escapes are understood.
    """
    try:
        return Payload.of(pybase64.b64decode(text, validate=True))
    except ValueError:
        text = bytes(text)
    if b"\\" in text:
        text = _ESCAPED_CODE.sub(lambda code: bytes([min(int(code[1], 16), 0x7F)]), _ESCAPE.sub(b"", text))
    if prefix := _DATA_URL.match(text):
        text = text[prefix.end() :]
    digits = text.translate(_STANDARD_ALPHABET, _WHITE_SPACE).rstrip(b"=")
    try:
        return Payload.of(pybase64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True))
    except ValueError:
        readable = _FOREIGN.split(digits, maxsplit=1)[0]
    data = binascii.a2b_base64(readable[: len(readable) - (len(readable) % 4 == 1)] + b"==")
    foreign = len(readable) < len(digits)
    return Payload.of(data, f"a character that is not base64 after {len(data):,} bytes" if foreign else None)
