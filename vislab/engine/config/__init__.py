"""Config files: reading them, changing them from the command line, and checking them before data is touched."""
