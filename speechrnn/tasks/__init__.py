"""Tasks: one folder for each kind of model."""
