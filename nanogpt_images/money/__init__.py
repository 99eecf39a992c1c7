"""Money: exact amounts, and the budget that client and batch share."""
