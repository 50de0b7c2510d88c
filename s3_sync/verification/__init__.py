"""Trying out what a mapping needs of its remote, step by step: the parts of ``swift-s3-verify``."""
