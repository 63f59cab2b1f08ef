"""Everything that an emulator remembers: settings, money, orders in progress, log, counters, planned faults, images."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs

from aimlapi_images.emulator.fault_plan import FaultPlan
from aimlapi_images.emulator.faults import Fault, Meaning, fault
from aimlapi_images.emulator.image_store import ImageStore
from aimlapi_images.emulator.request_log import RequestLog
from aimlapi_images.emulator.settings import Settings

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_STARTS_KEPT: Final = 100_000
_LATEST_KEPT: Final = 12


@attrs.frozen(kw_only=True)
class Stats:
    """Counters since the start or the last reset.

    Attributes:
        received: Requests for images, valid or not.
        accepted: Orders that were accepted and took their time.
        billed: Orders that were billed.
        delivered: Orders that were answered with an image that a careful client gets.
        refused: Requests that were not accepted.
        in_flight: Orders in progress.
        peak: The most orders that were in progress at a time.
        fetched: Images that were fetched by their URL.
        usd: What was billed, in US dollars.
        balance: The remaining balance in US dollars.
        faults: How often each fault happened, injected or by a limit, by kind.
    """

    received: int
    accepted: int
    billed: int
    delivered: int
    refused: int
    in_flight: int
    peak: int
    fetched: int
    usd: float
    balance: float
    faults: Mapping[str, int]


@attrs.frozen(eq=False)
class Order:
    """An accepted order.

    Attributes:
        prompt: The prompt.
        usd: The price in US dollars.
        dice: The chances of this order: its fault and its latency.
        fault: What goes wrong, if anything.
    """

    prompt: str
    usd: float
    dice: random.Random
    fault: Fault | None


class State:
    """The state of an emulator. Its methods may be called from any thread.

    Args:
        settings: The settings, to which `reset` returns.
        now: Returns the time in seconds since the epoch.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.image_port: int | None = None
        self._initial = settings or Settings()
        self._now, self._sleep = now, sleep
        self._lock = threading.RLock()
        self.reset()

    def reset(self, **settings: Any) -> None:
        """Forget everything, and return to the initial settings, changed by those given."""
        with self._lock:
            self.settings: Settings = attrs.evolve(self._initial, **settings)
            self.balance: float = self.settings.balance
            self.log: RequestLog = RequestLog()
            self.images: ImageStore = ImageStore()
            self.latest: deque[tuple[str, str]] = deque(maxlen=_LATEST_KEPT)  # prompt, name of the image
            self._counts: Counter[str] = Counter()
            self._faults: Counter[str] = Counter()
            self._usd, self._peak = 0.0, 0
            self._open: set[Order] = set()
            self._starts: deque[float] = deque(maxlen=_STARTS_KEPT)
            self._account_requests: deque[float] = deque(maxlen=_STARTS_KEPT)
            self._plan = FaultPlan(self.settings.seed)

    def configure(self, **settings: Any) -> None:
        """Change settings from now on. A changed balance replaces what is left."""
        with self._lock:
            self.settings = attrs.evolve(self.settings, **settings)
            self.balance = settings.get("balance", self.balance)

    def fail(self, kind: str, times: int = 1) -> None:
        """Let the next valid orders fail.

        Args:
            kind: A kind of `FAULTS`, such as `rate_limited`.
            times: Number of orders. Calls add up: the orders of the first call fail first.

        Raises:
            InvalidRequestError: There is no such kind.
        """
        with self._lock:
            self._plan.add(kind, times)

    @property
    def stats(self) -> Stats:
        """The counters."""
        with self._lock:
            counts = {name: self._counts[name] for name in ("received", "accepted", "billed", "delivered", "refused")}
            return Stats(
                **counts,
                in_flight=len(self._open),
                peak=self._peak,
                fetched=self._counts["fetched"],
                usd=round(self._usd, 6),
                balance=round(self.balance, 6),
                faults=dict(self._faults),
            )

    # ---- Time

    def now(self) -> float:
        """Seconds since the epoch. Only durations are scaled."""
        return self._now()

    def scaled(self, seconds: float) -> float:
        """How long a duration of the API takes here."""
        return seconds / self.settings.time_scale

    async def wait(self, seconds: float) -> None:
        """Wait for a duration of the API."""
        await self._sleep(self.scaled(seconds))

    # ---- Orders, in the order in which the methods are called

    def count(self, name: str) -> None:
        """Count something: a field of `Stats`."""
        with self._lock:
            self._counts[name] += 1

    def new_order(self, prompt: str, usd: float, asked_fault: str | None) -> Order:
        """Start a valid order, and decide what will go wrong.

        Args:
            prompt: The prompt.
            usd: The price in US dollars.
            asked_fault: The fault that the request itself asks for.

        Raises:
            InvalidRequestError: There is no such fault.
        """
        with self._lock:
            dice = self._plan.dice(prompt)
            return Order(prompt, usd, dice, self._plan.next(asked_fault, self.settings.faults, dice))

    def refuses(self, order: Order) -> Fault | None:
        """Admit an order, or tell which fault refuses it: its own, or that of a limit."""
        with self._lock:
            refusal = order.fault if order.fault and not order.fault.accepted else self._limit(order)
            if refusal is None:
                self._starts.append(self._now())
                self._open.add(order)
                self._counts["accepted"] += 1
                self._peak = max(self._peak, len(self._open))
            else:
                self._counts["refused"] += 1
                self._faults[refusal.kind] += 1
            return refusal

    def finish(self, order: Order) -> bool:
        """Bill an order if it is to be billed. Returns whether it was. An order from before a reset is not."""
        with self._lock:
            if order not in self._open:
                return False
            self._open.discard(order)
            if order.fault:
                self._faults[order.fault.kind] += 1
                if not order.fault.billed:
                    return False
            self.balance -= order.usd
            self._usd += order.usd
            self._counts["billed"] += 1
            if order.fault is None or order.fault.meaning is Meaning.DELIVERED:
                self._counts["delivered"] += 1
            return True

    def withdraw(self, order: Order) -> None:
        """Take an order back: it turned out to be invalid, or the emulator stops."""
        with self._lock:
            if order in self._open:
                self._open.discard(order)
                self._counts["accepted"] -= 1

    def account_is_busy(self) -> bool:
        """Whether a request for the balance or the log exceeds their own limit. Counts it if not."""
        with self._lock:
            busy = self._reached(self._account_requests, self.settings.account_rpm, _MINUTE)
            if not busy:
                self._account_requests.append(self._now())
            return busy

    def _limit(self, order: Order) -> Fault | None:
        settings = self.settings
        promised = sum(each.usd for each in self._open)
        if self.balance <= promised:
            return fault("out_of_credits")
        if self._reached(self._starts, settings.free_tier, _HOUR):
            return fault("free_tier")
        busy = settings.max_concurrency is not None and len(self._open) >= settings.max_concurrency
        if busy or self._reached(self._starts, settings.rpm, _MINUTE):
            return fault("rate_limited")
        return None

    def _reached(self, starts: deque[float], limit: int | None, window: float) -> bool:
        """Whether `limit` requests started within the last `window` seconds of the API."""
        if limit is None or len(starts) < limit:
            return False
        return limit == 0 or self._now() - starts[-limit] < self.scaled(window)
