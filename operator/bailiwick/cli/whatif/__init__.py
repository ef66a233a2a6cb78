"""The command that says what a change of policies would stop, and what it would let in."""
