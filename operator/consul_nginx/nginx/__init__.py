"""Rendering: what nginx should be, as the files nginx reads. Pure; nginx itself runs elsewhere."""
