"""Measurements of the engine alone and of the whole line, on the machine that they run on."""
