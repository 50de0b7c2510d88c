"""Providers and the wrappers that give them policies: retrying, limiting, metering."""
