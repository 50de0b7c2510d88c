"""Whether a mapping's remote holds what the local container says it should: found by looking, not by memory."""
