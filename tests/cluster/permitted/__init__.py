"""What the operator's owner has to permit: reading Secrets, other Consuls, mappings, templates."""
