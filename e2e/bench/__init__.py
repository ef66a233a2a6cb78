"""Benchmarks: each prints both sides of a comparison, measured in one run. None of them is a test."""
