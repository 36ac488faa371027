"""What demo and cluster tests share: traffic, registration by a script, the Helm release."""
