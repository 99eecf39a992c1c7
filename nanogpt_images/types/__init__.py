"""What goes in and what comes out: frozen values, without I/O."""
