"""The parts of SyncS3: requests signed and sent without an SDK, and what S3 makes of them."""
