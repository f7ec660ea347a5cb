"""Recipes, run as `python -m pipelines.NAME`; `--help` lists the options of each."""
