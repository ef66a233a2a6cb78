"""The commands as a shell knows them."""
