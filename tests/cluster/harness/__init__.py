"""A real Kubernetes cluster with Consul on one plain Debian machine."""
