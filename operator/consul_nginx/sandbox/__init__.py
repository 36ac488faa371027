"""A process that renders users' own templates: it may hang, and may be killed."""
