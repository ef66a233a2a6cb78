"""The chart's dashboards on recorded series: asked of a real Prometheus, and drawn as pictures."""
