"""How Bailiwick is operated: what becomes of it when parts of a cluster fail."""
