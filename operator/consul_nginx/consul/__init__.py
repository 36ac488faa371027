"""Consul: python-consul2 over one pooled asyncio transport, watches, and what they found."""
