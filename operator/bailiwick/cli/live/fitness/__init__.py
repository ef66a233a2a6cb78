"""Whether a cluster is fit for Bailiwick, judged from what was seen of it. Pure."""
