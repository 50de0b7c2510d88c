"""What a node remembers: progress, waiting work, pauses. See ``ledger``."""
from __future__ import annotations

from s3_sync.ledger.backoff import Backoff
from s3_sync.ledger.control import EVERYTHING
from s3_sync.ledger.import_status import StatusImporter
from s3_sync.ledger.ledger import Ledger, ledger_path
from s3_sync.ledger.lock import NodeLock, NodeLockHeld, holder
from s3_sync.ledger.values import GenerationRow, Kind, ProgressRow, RemovalReason, RemovalTotals, WaitingRemoval, Work

__all__ = ['EVERYTHING', 'Backoff', 'GenerationRow', 'Kind', 'Ledger', 'NodeLock', 'NodeLockHeld', 'ProgressRow',
           'RemovalReason', 'RemovalTotals', 'StatusImporter', 'WaitingRemoval', 'Work', 'holder', 'ledger_path']
