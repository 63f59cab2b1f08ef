"""Where an image file ends, read from its own structure: half an image is not an image."""

from __future__ import annotations

from typing import BinaryIO, Final

_MOST_PARTS: Final = 300_000  # that are looked at; a GIF of 64 MiB has 260,000


def has_end(file: BinaryIO, size: int, name: str) -> bool:
    """Whether an open file of `size` bytes, which begins as this format, is complete. What follows does not matter."""
    match name:
        case "png":
            return _png_has_end(file, size)
        case "jpeg":
            return _jpeg_has_end(file)
        case "gif":
            return _gif_has_end(file)
    file.seek(4)
    return size >= 8 + int.from_bytes(file.read(4), "little") > 12


def _png_has_end(file: BinaryIO, size: int) -> bool:
    """Go from chunk to chunk: length, type, data, checksum."""
    position = 8
    for _ in range(_MOST_PARTS):
        file.seek(position)
        head = file.read(8)
        position += 12 + int.from_bytes(head[:4], "big")
        if position > size or head[4:] == b"IEND":
            return position <= size
    return False


def _jpeg_has_end(file: BinaryIO) -> bool:
    """Go from segment to segment, since one may hold a whole thumbnail. After the first scan, find the end marker."""
    file.seek(2)
    for _ in range(_MOST_PARTS):
        marker = file.read(2)
        if len(marker) < 2 or marker[0] != 0xFF:
            return False
        if marker[1] == 0xFF:  # filler
            file.seek(-1, 1)
            continue
        file.seek(max(0, int.from_bytes(file.read(2), "big") - 2), 1)
        if marker[1] == 0xDA:
            break
    last = b""
    while data := file.read(2**16):
        if b"\xff\xd9" in last + data:
            return True
        last = data[-1:]
    return False


def _gif_has_end(file: BinaryIO) -> bool:
    """Go from block to block, and through the pieces of each."""
    file.seek(10)
    file.seek(13 + _color_table_size(file.read(1)))
    parts = iter(range(_MOST_PARTS))
    for _ in parts:
        kind = file.read(1)
        if kind == b",":
            file.seek(_color_table_size(file.read(9)[8:]) + 1, 1)
        elif kind == b"!":
            file.seek(1, 1)
        else:
            return kind == b";"
        for _ in parts:
            length = file.read(1)
            if length in (b"", b"\0"):
                break
            file.seek(length[0], 1)
    return False


def _color_table_size(flags: bytes) -> int:
    return 3 * 2 ** (flags[0] % 8 + 1) if flags and flags[0] & 0x80 else 0
