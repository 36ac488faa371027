"""The real cluster: harness and end-to-end tests."""
