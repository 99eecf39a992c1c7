"""Bulk jobs: many rows, one price, every image kept once."""
