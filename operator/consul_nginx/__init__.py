"""consul-nginx-operator: nginx in front of what Consul knows, on Kubernetes."""
