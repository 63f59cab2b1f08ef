"""What a client may spend, has spent, and is about to spend."""

from collections import Counter
from collections.abc import Hashable

import attrs

from aimlapi_images.api.outcome import Failure, Outcome
from aimlapi_images.config import not_negative, optional, rule
from aimlapi_images.errors import BudgetExceededError, InvalidRequestError
from aimlapi_images.models import CREDITS_PER_USD, Spending, Usage

_ROUNDING = 1e-9  # US dollars


@attrs.frozen(kw_only=True)
class Budget:
    """How much all orders of a client may cost together.

    The cost of an order is estimated from earlier orders of its kind (model, size, quality, number of images). Until
    the first of them has come back, the others of its kind wait for it. If its answer was lost, or states no cost, the
    dearest order of any kind is the estimate.

    Attributes:
        usd: In US dollars.
        credits: In credits; 2,000,000 of them are one dollar. If both are given, the stricter one applies.
        order_usd: Estimated cost of an order in US dollars as long as the API has not stated one. With it, no order
            waits for another.

    Raises:
        InvalidRequestError: Neither `usd` nor `credits` is given, or a value is out of range.
    """

    usd: float | None = attrs.field(default=None, validator=rule(optional(not_negative)))
    credits: float | None = attrs.field(default=None, validator=rule(optional(not_negative)))
    order_usd: float | None = attrs.field(default=None, validator=rule(optional(not_negative)))

    def __attrs_post_init__(self) -> None:
        if self.usd is None and self.credits is None:
            raise InvalidRequestError("a budget needs usd or credits")

    @property
    def limit_usd(self) -> float:
        """The limit in US dollars."""
        limits = [self.usd, None if self.credits is None else self.credits / CREDITS_PER_USD]
        return min(limit for limit in limits if limit is not None)


@attrs.define
class Ledger:
    """What has been spent, what is being spent, and what one order of a kind costs."""

    budget: Budget | None = None
    spending: Spending = attrs.field(factory=Spending, init=False)  # as far as the API said
    # The budget counts attempts that may have been billed at the price of their kind.
    _spent: float = attrs.field(default=0.0, init=False)
    _prices: dict[Hashable, float | None] = attrs.field(factory=dict, init=False)
    _in_flight: Counter[Hashable] = attrs.field(factory=Counter, init=False)

    def refusal(self, kind: Hashable) -> Failure | None:
        """Why an order of this kind must not be sent, whatever the orders in flight will cost."""
        if self.budget is None:
            return None
        price, limit = self._price(kind), self.budget.limit_usd + _ROUNDING
        if self._spent + (price or 0.0) > limit or (price is None and self._spent >= limit - _ROUNDING):
            rest = "nothing is left" if price is None else f"such an order costs ${price:.4f}"
            limit_usd, spent = self.budget.limit_usd, self._spent
            why = f"it would exceed the budget of ${limit_usd:.4f}. Up to ${spent:.4f} is spent, and {rest}"
        elif price is None and kind in self._prices:
            why = "the API did not state the cost of any earlier order, so the budget cannot be enforced: "
            why += "give Budget an order_usd"
        else:
            return None
        return Failure(Outcome.REFUSED, BudgetExceededError, f"not sent: {why}")

    def fits_now(self, kind: Hashable) -> bool:
        """Whether an order fits into the budget together with those in flight. If not, it waits for them."""
        if self.budget is None:
            return True
        price = self._price(kind)
        if price is None:
            return not any(self._price(each) is None for each in self._in_flight)
        committed = sum(number * (self._price(each) or 0.0) for each, number in self._in_flight.items())
        return self._spent + committed + price <= self.budget.limit_usd + _ROUNDING

    def sent(self, kind: Hashable) -> None:
        self._in_flight[kind] += 1

    def came_back(self, kind: Hashable) -> None:
        self._in_flight[kind] -= 1
        self._in_flight += Counter()  # drops zeros

    def charge(self, kind: Hashable, usage: Usage) -> None:
        self.spending = self.spending.with_order(usage)
        if usage.usd_spent is None:
            self._prices.setdefault(kind, None)
        else:
            self._prices[kind] = max(usage.usd_spent, self._prices.get(kind) or 0.0)
        self._spent += (self._price(kind) or 0.0) if usage.usd_spent is None else usage.usd_spent

    def charge_unknown(self, kind: Hashable) -> float:
        """An attempt ended, and may have been billed. Returns its assumed cost in US dollars."""
        self.spending = attrs.evolve(self.spending, unknown_outcomes=self.spending.unknown_outcomes + 1)
        # As after an answer without a cost: until any price is known, no other order of this kind is sent.
        self._prices.setdefault(kind, None)
        cost = self._price(kind) or 0.0
        self._spent += cost
        return cost

    def settle(self, kind: Hashable, assumed: float, usage: Usage | None) -> None:
        """The provider's log settles an attempt that was assumed to cost something. `None`: it was not billed."""
        self.spending = attrs.evolve(self.spending, unknown_outcomes=self.spending.unknown_outcomes - 1)
        self._spent -= assumed
        if usage is not None:
            self.charge(kind, usage)

    def _price(self, kind: Hashable) -> float | None:
        """The price of an order in US dollars, or `None` if unknown."""
        price = self._prices.get(kind)
        if price is None and self.budget is not None:
            price = self.budget.order_usd
        if price is None and kind in self._prices:
            price = max((each for each in self._prices.values() if each is not None), default=None)
        return price
