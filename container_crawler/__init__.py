"""Finds what changed in Swift's container databases. Knows nothing of clouds.

From a poll to a handler: ``targets`` names containers, ``databases`` places
them by the ring, ``scan`` and ``stamps`` tell which changed, ``turns`` lines
them up, ``folder`` reads chunks (``reader``, in ``device_threads``) and keeps
their ``window`` of unfinished rows; ``crawler`` holds it together. Handlers
implement ``handlers.RowHandler``, or the predecessor's ``base_sync.BaseSync``
through ``classic``.
"""
