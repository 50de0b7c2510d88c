"""What belongs to no single object: generations, pauses, learned facts, running totals."""
from __future__ import annotations

import json
from typing import Any

from s3_sync.ledger.base import LedgerPart
from s3_sync.ledger.values import GenerationRow

EVERYTHING = '*'
"""In ``paused()``: generations not named yet are paused too."""


class ControlPart(LedgerPart):
    # -- generations -----------------------------------------------------------------

    def set_generation(self, generation: str, name: str, description_json: str, evaluation: str) -> None:
        """Remember what an id means, each time a configuration with it is loaded."""
        now = self._clock.now()
        with self.transaction():
            self._database.write(
                'INSERT INTO generation (generation, name, description, evaluation, first_seen, last_seen) '
                'VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (generation) DO UPDATE SET name = excluded.name, '
                'description = excluded.description, evaluation = excluded.evaluation, last_seen = excluded.last_seen',
                (generation, name, description_json, evaluation, now, now))

    def generations(self) -> list[GenerationRow]:
        """All that ever were; those that no mapping has now are orphans (semantics 5.5)."""
        return [GenerationRow(*row) for row in self._database.query(
            'SELECT generation, name, description, evaluation, first_seen, last_seen FROM generation '
            'ORDER BY name, generation')]

    # -- pauses ----------------------------------------------------------------------

    def pause(self, generation: str | None = None) -> None:
        """Survives restarts, and power loss; a running daemon sees it at once. None: everything, also what comes."""
        self._set_paused(generation, True)

    def resume(self, generation: str | None = None) -> None:
        """One generation (also out of a pause of everything), or with None everything."""
        self._set_paused(generation, False)

    def _set_paused(self, generation: str | None, paused: bool) -> None:
        with self.transaction(durable=True):
            if generation is None:
                self._database.write('DELETE FROM pause')
            self._database.write('INSERT OR REPLACE INTO pause (generation, paused, since) VALUES (?, ?, ?)',
                                 (EVERYTHING if generation is None else generation, int(paused), self._clock.now()))

    def paused(self) -> set[str]:
        """Paused generations, and EVERYTHING when those not listed anywhere are paused too."""
        said = {row[0]: bool(row[1]) for row in self._database.query('SELECT generation, paused FROM pause')}
        if said.get(EVERYTHING):
            for row in self._database.query('SELECT generation FROM generation'):
                said.setdefault(row[0], True)
        return {generation for generation, paused in said.items() if paused}

    def is_paused(self, generation: str) -> bool:
        row = self._database.one(
            'SELECT paused FROM pause WHERE generation IN (?, ?) ORDER BY generation = ? LIMIT 1',
            (generation, EVERYTHING, EVERYTHING))
        return bool(row and row[0])

    # -- facts -----------------------------------------------------------------------

    def fact(self, key: str, max_age: float | None = None) -> Any:
        """A JSON value learned earlier (what an endpoint's probe showed); None: not known, or too old.

        ``max_age`` in seconds. A fact from the future (the clock stepped back) is too old.
        """
        row = self._database.one('SELECT value, time FROM fact WHERE key = ?', (key,))
        if row is None or (max_age is not None and not 0 <= self._clock.now() - row[1] <= max_age):
            return None
        return json.loads(row[0])

    def save_fact(self, key: str, value: object) -> None:
        """``value``: anything JSON can hold."""
        with self.transaction():
            self._database.write('INSERT OR REPLACE INTO fact (key, value, time) VALUES (?, ?, ?)',
                                 (key, json.dumps(value), self._clock.now()))

    # -- totals ----------------------------------------------------------------------

    def add_totals(self, generation: str, **amounts: int) -> None:
        """Count up what ``1space status`` shows over restarts (``copied=3, bytes=12_288``)."""
        with self.transaction():
            self._database.write_many(
                'INSERT INTO total (generation, name, value) VALUES (?, ?, ?) '
                'ON CONFLICT (generation, name) DO UPDATE SET value = value + excluded.value',
                [(generation, name, amount) for name, amount in amounts.items() if amount])

    def totals(self, generation: str | None = None) -> dict[str, dict[str, int]]:
        """{generation: {name: value}}."""
        found: dict[str, dict[str, int]] = {}
        for key, name, value in self._database.query(
                'SELECT generation, name, value FROM total WHERE ?1 IS NULL OR generation = ?1 ORDER BY 1, 2',
                (generation,)):
            found.setdefault(key, {})[name] = value
        return found
