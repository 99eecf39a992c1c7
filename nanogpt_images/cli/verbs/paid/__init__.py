"""Verbs on what was paid for: ledgers of single calls, and outcomes that are not known."""
