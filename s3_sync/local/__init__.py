"""Reading this cluster's objects, cheapest source first (DESIGN 7, semantics 4)."""
