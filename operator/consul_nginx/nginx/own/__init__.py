"""A user's own template: from its source, and what Consul says, to text for nginx. Pure."""
