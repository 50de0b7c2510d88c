"""What must happen to an object (decide) and making it happen (apply)."""
