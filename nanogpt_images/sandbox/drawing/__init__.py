"""Images drawn from the fields of a request."""
