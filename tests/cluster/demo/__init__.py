"""`make demo`: the product's main job, live, as a person would want to see it."""
