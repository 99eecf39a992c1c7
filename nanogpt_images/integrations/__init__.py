"""Bridges to other packages. Each needs one extra, loads on first use, and imports none of the others."""
