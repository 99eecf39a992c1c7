"""Verbs that change or mark images; each is a module."""
