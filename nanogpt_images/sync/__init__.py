"""The blocking client: the names of the async one, for scripts and notebooks."""
