-- `?...` stands for as many placeholders, `(...)...` for as many rows, as the caller has.

-- name: put_event
-- One row for each accepted event.
INSERT INTO event (seq, id, source, type, occurred_at, accepted_at, format, content_type, headers,
                   first_delivery, deliveries, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)...

-- name: put_delivery
-- A pending delivery, due at once.
INSERT INTO delivery (id, event, endpoint, next_at, round_started) VALUES (?, ?, ?, ?, ?)...

-- name: put_particular
-- A pending delivery that is sent a payload of its own, or stands in a line.
INSERT INTO delivery (id, event, endpoint, next_at, round_started, payload, order_key, place)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)...

-- name: head_of_line
-- Who may be attempted of an endpoint's deliveries with a key, and when it is due.
SELECT id, next_at FROM delivery INDEXED BY delivery_line
WHERE endpoint = ? AND order_key = ? AND state = 0 ORDER BY place LIMIT 1

-- name: let_go
-- A blocked delivery has become the head of its line.
UPDATE delivery SET next_at = ? WHERE id = ?

-- name: put_payload
-- What a transform made, once for all deliveries that are sent it.
INSERT INTO payload (id, body) VALUES (?, ?)

-- name: put_dead
-- A delivery that is dead from the start: beyond its endpoint's max_pending, or not transformed.
INSERT INTO delivery (id, event, endpoint, state, next_at, round_started, reason, settled_at,
                      payload, order_key, place)
VALUES (?, ?, ?, 2, ?, ?, ?, ?, ?, ?, ?)

-- name: put_identity
-- Remember what was accepted, for the dedup window.
INSERT INTO dedup (identity, event_id, deliveries, digest, expires_at) VALUES (?, ?, ?, ?, ?)...

-- name: find_identities
-- What is remembered of these identities, expired or not.
SELECT identity, event_id, deliveries, digest, expires_at FROM dedup WHERE identity IN (?...)

-- name: forget_identity
-- An expired identity that is about to be stored anew.
DELETE FROM dedup WHERE identity = ?

-- name: settle_delivered
-- Deliveries that an attempt has just delivered, many at once.
UPDATE delivery SET state = 1, attempts = attempts + 1, settled_at = ?
WHERE id IN (?...) AND state = 0

-- name: settle
-- Any other end of a claim, one by one.
UPDATE delivery SET state = ?, reason = ?, attempts = ?, round_attempts = ?, round_started = ?,
                    next_at = coalesce(?, next_at), settled_at = ?
WHERE id = ? AND state = 0

-- name: put_attempt
-- One row for each attempt made.
INSERT INTO attempt (delivery, number, started_at, duration, result, status, answer, error,
                     retry_after)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)...

-- name: put_bare_attempt
-- An attempt that left nothing to be told, as good ones do: the other columns are null.
INSERT INTO attempt (delivery, number, started_at, duration, result, status)
VALUES (?, ?, ?, ?, ?, ?)...

-- name: trim_attempts
-- Only the last hundred attempts are kept.
DELETE FROM attempt WHERE delivery = ? AND number <= ?

-- name: next_attempt_number
-- The number after the last one recorded, for an attempt whose own number is taken.
SELECT max(d.attempts, coalesce((SELECT max(number) FROM attempt WHERE delivery = d.id), 0)) + 1
FROM delivery d WHERE d.id = ?

-- name: count_attempt
-- The last attempt's number, where the attempt did not settle anything.
UPDATE delivery SET attempts = max(attempts, ?) WHERE id = ?

-- name: count_endpoint
-- Move an endpoint's counters.
UPDATE endpoint SET created = created + ?, replayed = replayed + ?, delivered = delivered + ?,
    dead = dead + ?, cancelled = cancelled + ?, pending = pending + ?,
    dead_letters = dead_letters + ?
WHERE id = ?

-- name: count_source
-- Move a source's counters; the first event makes the row.
INSERT INTO source (name, accepted, duplicates, conflicting, unrouted, last_event_at)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET accepted = accepted + excluded.accepted,
    duplicates = duplicates + excluded.duplicates,
    conflicting = conflicting + excluded.conflicting,
    unrouted = unrouted + excluded.unrouted,
    last_event_at = max(last_event_at, excluded.last_event_at)

-- name: mark
-- The highest numbers given, before rows that tell them go, and the latest reading of the clock.
UPDATE meta SET sequence = ?, delivery = ?, seen_at = max(seen_at, ?)

-- name: read_mark
-- Where numbering goes on after a restart.
SELECT max(sequence, coalesce((SELECT max(seq) FROM event), 0)),
       max(delivery, coalesce((SELECT max(id) FROM delivery), 0)),
       max(seen_at, coalesce((SELECT accepted_at FROM event ORDER BY seq DESC LIMIT 1), 0))
FROM meta

-- name: read_sources
-- Every source that ever sent.
SELECT name, accepted, duplicates, conflicting, unrouted, last_event_at FROM source

-- name: set_back
-- The clock was set back by so many seconds while nobody ran: waits keep their length.
UPDATE delivery SET next_at = max(:now, next_at - :seconds) WHERE state = 0 AND next_at > :now AND next_at < 9e999

-- name: forget_seen
-- From now on the clock as it is now counts.
UPDATE meta SET seen_at = ?
