"""Pods and what Consul holds of them, in catalog mode and at scale."""
