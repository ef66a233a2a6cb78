"""What `bailiwick` shows on a terminal, recorded from real runs for the documentation."""
