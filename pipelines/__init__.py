"""Recipes: each is one command, and reads like its line in the README."""
