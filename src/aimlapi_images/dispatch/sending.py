"""From an order to the API's answer: sent in its turn, and again where that costs nothing."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import attrs
import httpx

from aimlapi_images.api.auth import BearerAuth
from aimlapi_images.api.exchange import exchange
from aimlapi_images.api.response_parser import ImageAnswer, read_image_answer
from aimlapi_images.bodies import BodyGate
from aimlapi_images.dispatch.budget import Ledger
from aimlapi_images.dispatch.log_lookup import LogWatch
from aimlapi_images.dispatch.outcomes import Outcome, outcome_of
from aimlapi_images.dispatch.progress import Progress
from aimlapi_images.dispatch.retry import RetryPolicy, decide
from aimlapi_images.dispatch.throttle import Throttle
from aimlapi_images.errors import APIStatusError, ImageError
from aimlapi_images.events import AttemptStarted, Reporter, Retrying
from aimlapi_images.media.receiving import Sinks, broken_image
from aimlapi_images.orders.order import Order
from aimlapi_images.orders.uploads import read_in_threads
from aimlapi_images.threads import Threads
from aimlapi_images.turnstile import Turnstile

_NUMBERS_KEPT: Final = 10_000


@attrs.define
class Sender:
    """Sends orders until they are answered.

    Attributes:
        http: The client for the API.
        auth: The key for it.
        throttle: Who may go when.
        ledger: Is told what is spent.
        policy: What is sent again.
        log: Where the provider's log is asked.
        report: Is told the steps.
        gate: Lets answers be received.
        threads: Where files are read.
        chance: Gives random numbers from 0 to 1.
    """

    http: httpx.AsyncClient
    auth: BearerAuth
    throttle: Throttle
    ledger: Ledger
    policy: RetryPolicy
    log: LogWatch
    report: Reporter
    gate: BodyGate
    threads: Threads
    chance: Callable[[], float] = random.random
    _turnstile: Turnstile = attrs.field(factory=Turnstile, init=False, repr=False)
    _numbers: OrderedDict[str, int] = attrs.field(factory=OrderedDict, init=False, repr=False)

    async def answer(self, order: Order, progress: Progress, sinks: Sinks) -> ImageAnswer:
        """Send the order, as often as its outcomes and the policy allow.

        Args:
            order: What is wanted.
            progress: Is told how far it has come.
            sinks: Where images go that come in the answer.

        Raises:
            ImageError: It was refused, or there is no sending it again.
        """
        ticket = self.throttle.ticket(order.id, order.kind)
        failures = 0
        while True:
            progress.enter("queue")
            attempt = _Attempt()
            try:
                # Held while the API works, and neither during a backoff nor while the image is fetched.
                async with self.throttle.turn(ticket):
                    await self._turnstile.go()
                    progress.attempts += 1
                    attempt.number = self._next_number(order.id)
                    request_id = order.request_id(attempt.number)
                    await self.report(AttemptStarted(order.id, progress.attempts, request_id))
                    progress.enter("request")
                    return await self._attempt(order, attempt, sinks)
            except ImageError as error:
                await sinks.discard()
                if progress.phase == "queue":
                    error.may_be_billed = error.may_be_billed or progress.may_be_billed
                    raise
                failures += outcome_of(error) is not Outcome.LATER
                if self.policy.retry_unknown == "if-unbilled" and outcome_of(error) is Outcome.UNKNOWN:
                    await self._ask_log(order, progress, attempt, error)
                progress.failed(error)
                wait = decide(self.policy, error, failures, self.chance())
                if wait is None:
                    error.may_be_billed = progress.may_be_billed  # an earlier attempt may be, too
                    if isinstance(error, APIStatusError) and outcome_of(error) is Outcome.LATER and error.retry_after:
                        error.args = (f"{error.args[0]} (it asks to wait for {error.retry_after:,.0f} s)",)
                    raise
                await self.report(Retrying(order.id, progress.attempts, error, wait))
            progress.enter("backoff")
            await asyncio.sleep(wait)

    def _next_number(self, order: str) -> int:
        """The number of an order's next attempt. An order that is given again goes on where it was: the provider's
        log must not take an old attempt for a new one.
        """
        number = self._numbers.pop(order, 0) + 1
        self._numbers[order] = number
        if len(self._numbers) > _NUMBERS_KEPT:
            self._numbers.popitem(last=False)
        return number

    async def _attempt(self, order: Order, attempt: _Attempt, sinks: Sinks) -> ImageAnswer:
        request = self.http.build_request(**order.request(attempt.number))
        read_in_threads(request, self.threads)
        # Not documented here, but harmless: a server that knows it runs one order once, however often it is sent.
        request.headers["Idempotency-Key"] = order.id
        try:
            came = await exchange(
                self.http, request, self.auth, order=order.id, sinks=sinks, images=order.images_expected, gate=self.gate
            )
            answer = read_image_answer(came, order=order.id)
            broken = answer.entries[0].broken
            if broken is not None and all(entry.broken for entry in answer.entries):
                raise await broken_image(broken, inference_id=answer.inference_id, order=order.id)
        except BaseException as error:
            if not isinstance(error, ImageError) or error.may_be_billed:  # a cancelled one, too
                attempt.assumed_usd = self.ledger.charge_unknown(order.kind)
            raise
        self.ledger.charge(order.kind, answer.usage)
        return answer

    async def _ask_log(self, order: Order, progress: Progress, attempt: _Attempt, error: ImageError) -> None:
        """Ask the provider's log how an attempt ended, and have the error tell that."""
        progress.enter("log")
        try:
            entry = await self.log.find(order.request_id(attempt.number), attempt.sent_at)
        except ImageError as problem:
            said = f"could not be read: {problem.args[0]}"
        else:
            said = "does not have it yet"
            if entry is not None:
                failed = entry.status == "failed"
                self.ledger.settle(order.kind, attempt.assumed_usd, None if failed else entry.usage)
                error.log, error.may_be_billed = entry, not failed
                said = "says that it failed, and cost nothing" if failed else "says that it succeeded"
        error.args = (f"{error.args[0]}. The provider's log {said}",)


@attrs.define
class _Attempt:
    """Attributes:
    number: Which attempt of its order it is, counted from 1.
    sent_at: When it was sent.
    assumed_usd: What it is taken to have cost, as long as nothing is known.
    """

    number: int = 0
    sent_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    assumed_usd: float = 0.0
