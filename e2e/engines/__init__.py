"""What vLLM says of its own memory, beside what Bailiwick says."""
