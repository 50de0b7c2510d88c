"""Formats and arithmetic of both worlds. Pure: nothing here does IO or knows the time."""
