"""Pods' SERVICE_* annotations become Consul registrations: the pure half."""
