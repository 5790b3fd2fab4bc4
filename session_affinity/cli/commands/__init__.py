"""The commands: a module's name is that of its command, and its ``command`` is a click command with a short help."""
