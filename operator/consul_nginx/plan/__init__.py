"""Pure decisions: resources and a Consul snapshot in, what nginx should be and verdicts out."""
