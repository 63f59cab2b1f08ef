"""What orders cost: one, and all of a client's together."""

from __future__ import annotations

from typing import Final

import attrs

CREDITS_PER_USD: Final = 2_000_000  # documented: 190450 credits = 0.095225 USD


@attrs.frozen
class Usage:
    """What an order cost.

    Attributes:
        credits_used: In credits, or `None` if the API did not say.
        usd_spent: In US dollars, or `None` if the API said neither dollars nor credits.
    """

    credits_used: int | None = None
    usd_spent: float | None = None


def usage_of(credits_used: float | None, usd_spent: float | None) -> Usage:
    """What an order cost, as far as it was told; the dollars follow from the credits where they were not."""
    if usd_spent is None and credits_used is not None:
        usd_spent = credits_used / CREDITS_PER_USD
    return Usage(credits_used=None if credits_used is None else round(credits_used), usd_spent=usd_spent)


@attrs.frozen
class Spending:
    """What a client's orders have cost so far, as far as the API said.

    Attributes:
        orders: How many were answered with an image or its URL, and so are paid for.
        credits_used: Their cost in credits, where it is known.
        usd_spent: Their cost in US dollars, where it is known.
        unpriced: How many of them came without a cost. The sums leave these out.
        unknown_outcomes: How many attempts may have been billed, beside these orders.
    """

    orders: int = 0
    credits_used: int = 0
    usd_spent: float = 0.0
    unpriced: int = 0
    unknown_outcomes: int = 0

    def with_order(self, usage: Usage) -> Spending:
        """What it is after one more order was answered."""
        return attrs.evolve(
            self,
            orders=self.orders + 1,
            credits_used=self.credits_used + (usage.credits_used or 0),
            usd_spent=self.usd_spent + (usage.usd_spent or 0.0),
            unpriced=self.unpriced + (usage.usd_spent is None),
        )

    def with_unknown_outcomes(self, number: int) -> Spending:
        """What it is with so many more attempts that may have been billed."""
        return attrs.evolve(self, unknown_outcomes=self.unknown_outcomes + number)
