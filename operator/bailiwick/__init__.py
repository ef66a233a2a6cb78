"""Bailiwick keeps AI inference inside the border its owner draws."""

__version__ = "0.2.0"
