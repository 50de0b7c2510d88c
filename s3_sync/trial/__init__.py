"""Real servers on loopback, from Python packages alone: what ``1space try`` shows and the tests run against."""
