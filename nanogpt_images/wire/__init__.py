"""What goes over the wire and what comes back: pure functions between JSON and the typed view."""
