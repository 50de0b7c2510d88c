"""Finds what changed in Swift's container databases. Knows nothing of clouds."""
