"""The HTTP resources of the ingress, their error answers, limits and request log."""
