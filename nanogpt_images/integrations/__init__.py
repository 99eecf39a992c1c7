"""Integrations with other packages: each needs one extra, loads on first use, and imports no other one."""
