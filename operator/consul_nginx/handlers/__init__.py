"""kopf: thin handlers that feed the loops, and decide nothing."""
