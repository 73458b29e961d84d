-- The outbox, first version.
--
-- No foreign keys: deleting an event would have to look for its deliveries through an index on
-- delivery(event) that nothing else wants. The deliveries of an event are contiguous instead, so
-- that `first_delivery` and `deliveries` make "does any remain" a range of the primary key.

CREATE TABLE meta (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    sequence  INTEGER NOT NULL,  -- highest event.seq ever given: numbers outlive their rows
    delivery  INTEGER NOT NULL,  -- highest delivery.id ever given
    seen_at   REAL NOT NULL      -- latest reading of the clock: tells a clock set back at restart
);
INSERT INTO meta (id, sequence, delivery, seen_at) VALUES (1, 0, 0, 0);

CREATE TABLE event (
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL,
    source         TEXT NOT NULL,
    type           TEXT NOT NULL,
    occurred_at    TEXT NOT NULL,
    accepted_at    REAL NOT NULL,
    format         TEXT NOT NULL,
    content_type   TEXT,
    headers        TEXT,              -- JSON [[name, value], ...]; NULL: none
    first_delivery INTEGER NOT NULL,
    deliveries     INTEGER NOT NULL,
    body           BLOB NOT NULL      -- last: the other columns are read without its pages
);
CREATE INDEX event_unrouted ON event (accepted_at) WHERE deliveries = 0;

-- state: 0 pending, 1 delivered, 2 dead, 3 cancelled. What is in flight is known in memory,
-- parked is pending at a removed endpoint. `attempts` is the number of the last attempt.
CREATE TABLE delivery (
    id             INTEGER PRIMARY KEY,
    event          INTEGER NOT NULL,
    endpoint       INTEGER NOT NULL,
    state          INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),
    next_at        REAL NOT NULL,
    round_started  REAL NOT NULL,     -- a reading of the endpoint's active clock
    attempts       INTEGER NOT NULL DEFAULT 0,
    round_attempts INTEGER NOT NULL DEFAULT 0,
    reason         TEXT,
    settled_at     REAL,
    replayed_at    REAL,
    replayed_after INTEGER,           -- attempts made before the first replay
    died_at        REAL,              -- of the first death, once it is replayed
    died_reason    TEXT
);
CREATE INDEX delivery_due ON delivery (endpoint, next_at, id) WHERE state = 0;
CREATE INDEX delivery_finished ON delivery (state, settled_at) WHERE state > 0;
CREATE INDEX delivery_dead ON delivery (endpoint, id) WHERE state = 2;
CREATE INDEX delivery_dead_anywhere ON delivery (id) WHERE state = 2;

CREATE TABLE attempt (
    delivery    INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    started_at  REAL NOT NULL,
    duration    REAL NOT NULL,
    result      TEXT NOT NULL,
    status      INTEGER,
    answer      BLOB,
    error       TEXT,
    retry_after REAL,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;

CREATE TABLE endpoint (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    name               TEXT NOT NULL UNIQUE,
    on_remove          TEXT NOT NULL,
    max_pending        INTEGER NOT NULL,
    removed_at         REAL,
    paused_by_file     INTEGER NOT NULL DEFAULT 0,
    paused_by_operator INTEGER NOT NULL DEFAULT 0,
    gone               INTEGER NOT NULL DEFAULT 0,
    hold_until         REAL,
    breaker            TEXT,
    tokens             REAL,
    tokens_at          REAL,
    suspended_since    REAL,
    suspended_seconds  REAL NOT NULL DEFAULT 0,
    revived_at         REAL,          -- a reading of the active clock
    created            INTEGER NOT NULL DEFAULT 0,
    replayed           INTEGER NOT NULL DEFAULT 0,
    delivered          INTEGER NOT NULL DEFAULT 0,
    dead               INTEGER NOT NULL DEFAULT 0,
    cancelled          INTEGER NOT NULL DEFAULT 0,
    pending            INTEGER NOT NULL DEFAULT 0,
    dead_letters       INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE source (
    name          TEXT PRIMARY KEY,
    accepted      INTEGER NOT NULL,
    duplicates    INTEGER NOT NULL,
    conflicting   INTEGER NOT NULL,  -- duplicates with other bytes or type
    unrouted      INTEGER NOT NULL,  -- accepted, owed to nobody
    last_event_at REAL
) WITHOUT ROWID;

-- One row for an identity inside its window; it outlives the event when that is purged.
CREATE TABLE dedup (
    identity   TEXT PRIMARY KEY,      -- source:key
    event_id   TEXT NOT NULL,
    deliveries INTEGER NOT NULL,
    digest     BLOB NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX dedup_expires ON dedup (expires_at);
