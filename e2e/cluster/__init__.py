"""A real Kubernetes cluster from nothing: `python -m e2e.cluster up`. `docs/cluster.md` says how it runs."""
