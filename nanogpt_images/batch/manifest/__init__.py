"""Files of prompts, read row by row."""
