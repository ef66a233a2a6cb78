"""The loops: event, key, observe, plan, apply, status."""
