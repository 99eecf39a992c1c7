"""HTTP: the protocol, the one client behind it, and the way of each request to it."""
