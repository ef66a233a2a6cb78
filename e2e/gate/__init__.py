"""The gate before a real engine, as plain processes."""
