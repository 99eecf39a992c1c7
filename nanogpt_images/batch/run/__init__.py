"""The way of one paid request of a batch, and what stops or slows them all."""
