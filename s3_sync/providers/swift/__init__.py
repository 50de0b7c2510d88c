"""OpenStack Swift as a remote: logging in, requests, metadata. ``s3_sync.sync_swift`` puts them together."""
