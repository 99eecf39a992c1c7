"""The verbs, one module each, loaded when the verb runs."""
