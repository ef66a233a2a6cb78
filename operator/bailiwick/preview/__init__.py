"""What the in-tree policies will say about manifests, before anybody applies them. No cluster, no clock, no I/O."""
