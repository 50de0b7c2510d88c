"""The ledger's tables, as one list of steps from nothing to today.

``PRAGMA user_version`` counts the steps a file has seen. Steps are only ever
appended; a file that has seen more steps than this list knows was written by
a newer version and is refused.

``place`` is one container of one generation. It carries what is asked for all
the time (how many entries wait, when the next is due), kept exact inside the
same transactions that change ``work``, so that neither a metrics scrape nor
the daemon's loop ever counts millions of rows. ``work.due`` is NULL for
permanent failures: they are in no index of due times.

``removal`` is local objects that go once nothing needs them; ``removal_total``
counts them, kept exact by triggers. A segment stands there once for each
archived manifest that named it (``owner``), an object with no owner.
"""
from __future__ import annotations

APPLICATION_ID = 0x31535043
"""``1SPC``: tells a ledger from any other SQLite file."""

STEPS: tuple[tuple[str, ...], ...] = (
    (
        '''CREATE TABLE generation (
            generation TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            description TEXT NOT NULL,
            evaluation TEXT NOT NULL,
            first_seen REAL NOT NULL,
            last_seen REAL NOT NULL
        ) WITHOUT ROWID''',
        '''CREATE TABLE place (
            id INTEGER PRIMARY KEY,
            generation TEXT NOT NULL,
            account TEXT NOT NULL,
            container TEXT NOT NULL,
            deferred INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0,
            permanent INTEGER NOT NULL DEFAULT 0,
            next_due REAL,
            metadata_hash TEXT,
            complete_count INTEGER,
            complete_time REAL,
            imported REAL,
            UNIQUE (generation, account, container)
        )''',
        'CREATE INDEX place_due ON place (generation, next_due) WHERE next_due IS NOT NULL',
        '''CREATE TABLE progress (
            generation TEXT NOT NULL,
            db_id TEXT NOT NULL,
            place INTEGER NOT NULL REFERENCES place (id),
            own_row INTEGER NOT NULL,
            verified_row INTEGER NOT NULL,
            share TEXT NOT NULL,
            evaluation TEXT NOT NULL,
            updated REAL NOT NULL,
            PRIMARY KEY (generation, db_id)
        ) WITHOUT ROWID''',
        'CREATE INDEX progress_place ON progress (place)',
        '''CREATE TABLE work (
            id INTEGER PRIMARY KEY,
            place INTEGER NOT NULL REFERENCES place (id),
            name TEXT NOT NULL,
            row_id INTEGER NOT NULL,
            created_at TEXT NOT NULL,
            size INTEGER NOT NULL,
            content_type TEXT NOT NULL,
            etag TEXT NOT NULL,
            deleted INTEGER NOT NULL,
            policy_index INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            reason TEXT NOT NULL,
            detail TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            due REAL,
            first_seen REAL NOT NULL,
            updated REAL NOT NULL,
            UNIQUE (place, name)
        )''',
        'CREATE INDEX work_due ON work (place, due) WHERE due IS NOT NULL',
        '''CREATE TABLE pause (
            generation TEXT PRIMARY KEY,
            paused INTEGER NOT NULL,
            since REAL NOT NULL
        ) WITHOUT ROWID''',
        'CREATE TABLE fact (key TEXT PRIMARY KEY, value TEXT NOT NULL, time REAL NOT NULL) WITHOUT ROWID',
        '''CREATE TABLE total (
            generation TEXT NOT NULL,
            name TEXT NOT NULL,
            value INTEGER NOT NULL,
            PRIMARY KEY (generation, name)
        ) WITHOUT ROWID''',
    ),
    (
        '''CREATE TABLE removal (
            id INTEGER PRIMARY KEY,
            generation TEXT NOT NULL,
            account TEXT NOT NULL,
            container TEXT NOT NULL,
            name TEXT NOT NULL,
            owner TEXT NOT NULL,
            owner_etag TEXT NOT NULL,
            sweep INTEGER NOT NULL,
            due REAL NOT NULL,
            row_id INTEGER NOT NULL,
            created_at TEXT NOT NULL,
            size INTEGER NOT NULL,
            content_type TEXT NOT NULL,
            etag TEXT NOT NULL,
            policy_index INTEGER NOT NULL,
            reason TEXT NOT NULL DEFAULT '',
            detail TEXT NOT NULL DEFAULT '',
            attempts INTEGER NOT NULL DEFAULT 0,
            added REAL NOT NULL,
            updated REAL NOT NULL,
            UNIQUE (generation, account, container, name, owner)
        )''',
        'CREATE INDEX removal_due ON removal (generation, sweep, due)',
        '''CREATE TABLE removal_total (
            generation TEXT PRIMARY KEY,
            objects INTEGER NOT NULL,
            segments INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        ) WITHOUT ROWID''',
        '''CREATE TRIGGER removal_came AFTER INSERT ON removal BEGIN
            INSERT INTO removal_total VALUES (new.generation, new.owner = '', new.owner != '', new.size)
            ON CONFLICT (generation) DO UPDATE SET objects = objects + excluded.objects,
                segments = segments + excluded.segments, bytes = bytes + excluded.bytes;
        END''',
        '''CREATE TRIGGER removal_went AFTER DELETE ON removal BEGIN
            UPDATE removal_total SET objects = objects - (old.owner = ''), segments = segments - (old.owner != ''),
                bytes = bytes - old.size WHERE generation = old.generation;
        END''',
        '''CREATE TRIGGER removal_changed AFTER UPDATE OF size ON removal BEGIN
            UPDATE removal_total SET bytes = bytes - old.size + new.size WHERE generation = new.generation;
        END''',
    ),
)

VERSION = len(STEPS)
