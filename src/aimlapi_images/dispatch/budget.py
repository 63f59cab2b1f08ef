"""What a client may spend, and whether the next order fits in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import attrs

from aimlapi_images.errors import BudgetExceededError, InvalidRequestError
from aimlapi_images.spending import CREDITS_PER_USD, Spending, Usage

_ROUNDING = 1e-9  # US dollars


@attrs.frozen(kw_only=True)
class Budget:
    """How much all orders of a client may cost together.

    What an order will cost is judged by what others of its kind (model, size, quality, number of images) have
    cost. As long as none has come back, one goes ahead, and the others of its kind wait for it.

    Attributes:
        usd: In US dollars.
        credits: In credits; 2,000,000 of them are one dollar. If both are given, the stricter one rules.
        order_usd: What an order is taken to cost, in US dollars, where the API has not said what one like it
            costs. With it, nobody waits.
    """

    usd: float | None = None
    credits: float | None = None
    order_usd: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.usd is None and self.credits is None:
            raise InvalidRequestError("a budget needs usd or credits")
        for name in ("usd", "credits", "order_usd"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise InvalidRequestError(f"the budget's {name} is {value!r}, and has to be 0 or more")

    @property
    def limit_usd(self) -> float:
        """All that may be spent, in US dollars."""
        limits = [self.usd, None if self.credits is None else self.credits / CREDITS_PER_USD]
        return min(limit for limit in limits if limit is not None)


@attrs.define
class Ledger:
    """What has been spent, what is being spent, and what one order of a kind costs.

    Attributes:
        budget: What may be spent; anything if `None`.
        spending: What was spent, as far as the API said.
    """

    budget: Budget | None = None
    spending: Spending = attrs.field(factory=Spending, init=False)
    # For the budget, what may have been billed is counted at the price of its kind.
    _spent: float = attrs.field(default=0.0, init=False)
    _prices: dict[Hashable, float | None] = attrs.field(factory=dict, init=False)
    _in_flight: Counter[Hashable] = attrs.field(factory=Counter, init=False)

    def admits(self, kind: Hashable, order: str) -> bool:
        """Whether an order may be sent now; if not, it is worth waiting for those that are in flight.

        Args:
            kind: What decides its price.
            order: Its id.

        Raises:
            BudgetExceededError: It does not fit in, whatever comes of those.
        """
        if self.budget is None:
            return True
        price, limit = self._price(kind), self.budget.limit_usd + _ROUNDING
        if self._spent + (price or 0.0) > limit or (price is None and self._spent >= limit - _ROUNDING):
            raise BudgetExceededError(
                f"not sent, as the budget of ${self.budget.limit_usd:.4f} does not allow for it: "
                f"${self._spent:.4f} may be spent by now, and "
                + ("there is nothing left" if price is None else f"one like it costs ${price:.4f}"),
                order=order,
            )
        if price is None:
            if kind in self._prices:
                raise BudgetExceededError(
                    "not sent, as the API did not say what an order like it cost, and the budget cannot be kept: "
                    "give Budget an order_usd",
                    order=order,
                )
            return not any(self._price(each) is None for each in self._in_flight)
        committed = sum(number * (self._price(each) or 0.0) for each, number in self._in_flight.items())
        return self._spent + committed + price <= limit

    def sent(self, kind: Hashable) -> None:
        """An order is in flight."""
        self._in_flight[kind] += 1

    def came_back(self, kind: Hashable) -> None:
        """An order is not in flight any more."""
        self._in_flight[kind] -= 1
        self._in_flight += Counter()  # drops what is 0

    def charge(self, kind: Hashable, usage: Usage) -> None:
        """An order was answered, and is paid for."""
        self.spending = self.spending.with_order(usage)
        if usage.usd_spent is None:
            self._prices.setdefault(kind, None)
        else:
            self._prices[kind] = max(usage.usd_spent, self._prices.get(kind) or 0.0)
        self._spent += self._cost(kind, usage.usd_spent)

    def charge_unknown(self, kind: Hashable) -> float:
        """An attempt ended, and may have been billed.

        Returns:
            What it is taken to have cost, in US dollars.
        """
        self.spending = self.spending.with_unknown_outcomes(1)
        cost = self._cost(kind, None)
        self._spent += cost
        # As after an answer without a cost: as long as nothing is known of it, no other one of its kind may go.
        self._prices.setdefault(kind, None)
        return cost

    def settle(self, kind: Hashable, assumed: float, usage: Usage | None) -> None:
        """The log tells of an attempt whose outcome was unknown.

        Args:
            kind: What decides its price.
            assumed: What it was taken to have cost, in US dollars.
            usage: What it cost; `None` if it was not billed.
        """
        self.spending = self.spending.with_unknown_outcomes(-1)
        self._spent -= assumed
        if usage is not None:
            self.charge(kind, usage)

    def _cost(self, kind: Hashable, usd: float | None) -> float:
        return (self._price(kind) or 0.0) if usd is None else usd

    def _price(self, kind: Hashable) -> float | None:
        """What an order costs, in US dollars, or `None` if there is no telling."""
        price = self._prices.get(kind)
        return self.budget.order_usd if price is None and self.budget is not None else price
