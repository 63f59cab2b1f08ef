"""What a client's orders have cost."""

from __future__ import annotations

import attrs

from aimlapi_images.images import Usage


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

    def with_unknown_outcome(self) -> Spending:
        """What it is after one more attempt that may have been billed."""
        return attrs.evolve(self, unknown_outcomes=self.unknown_outcomes + 1)
