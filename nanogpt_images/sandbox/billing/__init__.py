"""Who may generate, what it costs them, and what the service says of it."""
