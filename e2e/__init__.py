"""Tests on a real cluster, and what makes the cluster."""
