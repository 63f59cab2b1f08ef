"""Where a name leads, and in which order to try it."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Sequence
from typing import Any


def is_address(host: str) -> bool:
    """Whether a host is an address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def alternating(found: Sequence[Any]) -> list[str]:
    """The addresses that a name has, of one family and of the other in turn: one of them may not work here."""
    families: dict[int, list[str]] = {}
    for family, _, _, _, place in found:
        families.setdefault(family, []).append(str(place[0]))
    rounds = itertools.zip_longest(*families.values())
    return list(dict.fromkeys(address for each in rounds for address in each if address is not None))
