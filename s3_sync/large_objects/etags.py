"""What ETags say about content, without a byte being read."""
from __future__ import annotations

from typing import Literal

Relation = Literal['same', 'different', 'unknown']
