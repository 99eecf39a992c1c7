"""Keys, rate limits, balances, and the usage that the service reports."""
