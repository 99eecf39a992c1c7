"""A SQLite file in the hands of one thread: opened, refused, and changed in grouped commits."""
