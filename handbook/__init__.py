"""The site: docs/ as pages that a browser shows without asking another host."""
