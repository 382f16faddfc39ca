"""Recipes: what a calibration hands to the line, immutable and checked on every load."""
