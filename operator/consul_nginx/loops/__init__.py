"""The reconcile functions, one screen each, and what drives them."""
