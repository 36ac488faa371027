"""Frozen values that travel between the rooms; importing them costs nothing."""
