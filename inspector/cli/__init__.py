"""The command `inspector`."""
