"""What large objects consist of, what their ETags say, how they are cut: pure code, no IO."""
