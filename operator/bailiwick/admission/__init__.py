"""The webhook server: what the API server asks about our own kinds and about claims, and cannot tell by itself."""
