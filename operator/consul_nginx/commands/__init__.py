"""Commands of ``consul-nginx`` that are more than starting something, one per module."""
