"""How much is received ahead on a connection: little, where there are hundreds of them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ALL_TOGETHER: Final = 16 * 2**20
_FEW: Final = 64
_SMALLEST: Final = 32 * 2**10

# What a connection may take at once with nobody waiting for it: that is what each of a thousand may hold.
AHEAD_BYTES: Final = 16 * 2**10

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


class ReluctantSocket(socket.socket):
    """Gives little at once until somebody wants it all. For event loops that read as much as there is.

    Attributes:
        wanted: Whether somebody does.
    """

    wanted = False

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        return super().recv(bufsize if self.wanted else min(bufsize, AHEAD_BYTES), flags)

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        room = nbytes or memoryview(buffer).nbytes
        return super().recv_into(buffer, room if self.wanted else min(room, AHEAD_BYTES), flags)
