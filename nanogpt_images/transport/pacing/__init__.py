"""Pacing: never more starts in a second than the key allows."""
