"""Bailiwick keeps AI inference inside the border its owner draws."""
