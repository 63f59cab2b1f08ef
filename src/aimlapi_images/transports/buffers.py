"""How much the system may receive ahead on a connection: little, where there are hundreds of them."""

from __future__ import annotations

import socket
from typing import Final

_ALL_TOGETHER: Final = 16 * 2**20
_FEW: Final = 64
_SMALLEST: Final = 32 * 2**10

SocketOption = tuple[int, int, int]


def receive_buffer(connections: int) -> list[SocketOption]:
    """The options for one more socket.

    Whatever has arrived is read at once, up to 256 KiB, before anybody wants it: 1,000 answers that come together
    would fill hundreds of megabytes. What is not read waits at the server. The first 64 connections are as fast
    as the system can make them; of hundreds, each still takes an image of 1.5 MB in seconds.

    Args:
        connections: How many there are already.
    """
    if connections < _FEW:
        return []
    return [(socket.SOL_SOCKET, socket.SO_RCVBUF, max(_SMALLEST, _ALL_TOGETHER // connections))]
