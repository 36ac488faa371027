"""What demo and cluster tests share: traffic, Consul as people use it, the Helm release."""
