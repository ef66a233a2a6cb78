"""The custom resources: the single source of crds/*.yaml and docs/reference/api.md."""
