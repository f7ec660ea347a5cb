"""Models: what all kinds have in common, and the one way to load them."""
