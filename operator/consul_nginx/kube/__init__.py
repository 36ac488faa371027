"""Kubernetes: the objects we write, the status we report, and the pods we ask."""
