"""The journal's database: its tables, its one thread, and the processes that share it."""
