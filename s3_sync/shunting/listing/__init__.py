"""Listings of the merged namespace: what Swift would answer if everything lay in it (semantics 7, 11)."""
