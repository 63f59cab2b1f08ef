"""Which order is hit by which fault, and the chances behind that."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final

from aimlapi_images.emulator.faults import Fault, fault

_PROMPTS_KEPT: Final = 10_000


class FaultPlan:
    """Planned faults, and random ones. Not safe for threads: the state guards it.

    Args:
        seed: Makes the chances of an order depend on its prompt, and on how often that was sent; random if `None`.
    """

    def __init__(self, seed: int | None) -> None:
        self._seed = seed
        self._planned: deque[Fault] = deque()
        self._times_sent: OrderedDict[str, int] = OrderedDict()

    def add(self, kind: str, times: int) -> None:
        """Plan a fault for the next `times` orders that have none yet."""
        self._planned.extend([fault(kind)] * times)

    def next(self, asked: str | None, rates: Mapping[str, float], dice: random.Random) -> Fault | None:
        """The fault of an order: the one that its request asks for, a planned one, or one by chance.

        Raises:
            InvalidRequestError: There is no fault such as the request asks for.
        """
        drawn = dice.random()
        if asked is not None:
            return fault(asked)
        if self._planned:
            return self._planned.popleft()
        for kind, rate in rates.items():
            if drawn < rate:
                return fault(kind)
            drawn -= rate
        return None

    def dice(self, prompt: str) -> random.Random:
        """The chances of an order. With a seed they do not depend on the order of arrival of others."""
        if self._seed is None:
            return random.Random()  # noqa: S311
        sent = self._times_sent.pop(prompt, 0) + 1
        self._times_sent[prompt] = sent
        if len(self._times_sent) > _PROMPTS_KEPT:
            self._times_sent.popitem(last=False)
        return random.Random(f"{self._seed} {sent} {prompt}".encode("utf-8", "replace"))  # noqa: S311
