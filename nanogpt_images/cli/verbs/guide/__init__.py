"""Verbs that explain: what an error means, which defaults are in effect."""
