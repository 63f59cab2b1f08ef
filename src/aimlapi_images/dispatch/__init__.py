"""When an order is sent, and how often."""
