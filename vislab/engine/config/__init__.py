"""Config files: reading, overriding from the command line, and validation before any data is read."""
