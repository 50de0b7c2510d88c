"""Merging namespaces in Swift's proxy: what the filters of ``s3_sync.shunt`` are made of."""
