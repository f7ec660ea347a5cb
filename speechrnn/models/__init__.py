"""Models: what all kinds have in common, and how they are loaded."""
