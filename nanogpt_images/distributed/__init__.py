"""A batch whose requests leave from other machines: the part that knows no engine."""
