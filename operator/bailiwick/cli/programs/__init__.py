"""What runs in pods: the operator and the webhook."""
