"""Kubernetes as Bailiwick uses it: a small port with explicit timeouts, stores that replace on relist, apply, lease."""
