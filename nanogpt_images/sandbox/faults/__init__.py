"""Faults that a sandbox injects on request."""
