"""Pure: a SovereignModel becomes a plan, and the plan becomes Kubernetes objects. One builder per kind of child."""
