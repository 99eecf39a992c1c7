"""The two listings and the endpoint metadata, in every shape that occurs, to typed records."""
