"""Recipes, run as `python -m pipelines.NAME`; `--help` lists the options of each."""

from speechrnn.cli import lazy

lazy.until_used("pipelines")
