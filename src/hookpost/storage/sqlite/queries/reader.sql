-- name: due_sizes
-- The next due deliveries of an endpoint after a position, with what their events weigh. In two
-- parts: `(next_at, id) > (?, ?)` would walk over all that share the position's next_at.
SELECT next_at, id, size FROM (
    SELECT d.next_at, d.id, coalesce(length(p.body), length(e.body)) AS size
    FROM delivery d INDEXED BY delivery_due CROSS JOIN event e ON e.seq = d.event
    LEFT JOIN payload p ON p.id = d.payload
    WHERE d.endpoint = :endpoint AND d.state = 0 AND d.next_at = :next_at AND d.id > :id
    ORDER BY d.id LIMIT :limit)
UNION ALL
SELECT next_at, id, size FROM (
    SELECT d.next_at, d.id, coalesce(length(p.body), length(e.body)) AS size
    FROM delivery d INDEXED BY delivery_due CROSS JOIN event e ON e.seq = d.event
    LEFT JOIN payload p ON p.id = d.payload
    WHERE d.endpoint = :endpoint AND d.state = 0 AND d.next_at > :next_at AND d.next_at <= :now
    ORDER BY d.next_at, d.id LIMIT :limit)
LIMIT :limit

-- name: due
-- Those of these deliveries that are pending, whole, in the order named.
SELECT d.next_at, d.id, coalesce(length(p.body), length(e.body)) AS size, d.endpoint, d.event,
       d.attempts, d.round_attempts, d.round_started, d.replayed_at, e.id AS event_id, e.source,
       e.type, e.occurred_at, e.accepted_at, e.format, e.content_type, e.headers,
       coalesce(p.body, e.body), d.payload, d.order_key
FROM json_each(?) AS asked
CROSS JOIN delivery d ON d.id = asked.value CROSS JOIN event e ON e.seq = d.event
LEFT JOIN payload p ON p.id = d.payload
WHERE d.state = 0

-- name: due_after
-- When the first delivery that is not due yet will be.
SELECT next_at FROM delivery INDEXED BY delivery_due
WHERE endpoint = ? AND state = 0 AND next_at > ? ORDER BY next_at LIMIT 1

-- name: view
-- A delivery as shown, with its last attempt; `from` and `where` follow.
SELECT d.id, d.event, e.id AS event_id, e.type, e.source, p.name, d.state, d.reason, d.attempts,
       e.accepted_at, d.next_at, d.settled_at, a.started_at, a.error, a.result, a.status,
       d.replayed_at, d.replayed_after, p.removed_at, d.died_at, d.died_reason,
       b.started_at AS fatal_started_at, b.error AS fatal_error, b.result AS fatal_result,
       b.status AS fatal_status, d.order_key,
       CASE WHEN d.state = 0 AND d.next_at = 9e999 THEN (
           SELECT h.id FROM delivery h INDEXED BY delivery_line
           WHERE h.endpoint = d.endpoint AND h.order_key = d.order_key AND h.state = 0
           ORDER BY h.place LIMIT 1) END AS behind

-- name: count
-- How many; `from` and `where` follow.
SELECT count(*)

-- name: candidates
-- What a bulk verb may change; `from` and `where` follow.
SELECT d.id, d.endpoint

-- name: from_any
-- Newest or oldest first by number, whatever the state.
FROM delivery d NOT INDEXED
CROSS JOIN event e ON e.seq = d.event CROSS JOIN endpoint p ON p.id = d.endpoint

-- name: from_dead
-- Dead letters only.
FROM delivery d INDEXED BY delivery_dead_anywhere
CROSS JOIN event e ON e.seq = d.event CROSS JOIN endpoint p ON p.id = d.endpoint

-- name: from_dead_of_endpoint
-- Dead letters of one endpoint only.
FROM delivery d INDEXED BY delivery_dead
CROSS JOIN event e ON e.seq = d.event CROSS JOIN endpoint p ON p.id = d.endpoint

-- name: from_blocked
-- Those only that wait behind another of their line.
FROM delivery d INDEXED BY delivery_blocked
CROSS JOIN event e ON e.seq = d.event CROSS JOIN endpoint p ON p.id = d.endpoint

-- name: with_attempt
-- The last attempt, and the last one before the first replay, where they were made.
LEFT JOIN attempt a ON a.delivery = d.id AND a.number = d.attempts
LEFT JOIN attempt b ON b.delivery = d.id AND b.number = d.replayed_after

-- name: is_any
TRUE

-- name: is_ids
d.id IN (SELECT value FROM json_each(:ids))

-- name: is_endpoint
d.endpoint = :endpoint

-- name: is_source
e.source = :source

-- name: is_event_id
e.id = :event_id

-- name: is_event_type
e.type = :event_type

-- name: is_reason
d.reason = :reason

-- name: is_accepted_after
e.accepted_at > :accepted_after

-- name: is_accepted_before
e.accepted_at < :accepted_before

-- name: is_blocked
(d.state = 0 AND d.next_at = 9e999)

-- name: is_not_blocked
NOT (d.state = 0 AND d.next_at = 9e999)

-- name: is_before
d.id < :before

-- name: is_after
d.id > :after

-- name: state_pending
(d.state = 0 AND p.removed_at IS NULL AND d.id NOT IN (SELECT value FROM json_each(:in_flight)))

-- name: state_in_flight
(d.state = 0 AND d.id IN (SELECT value FROM json_each(:in_flight)))

-- name: state_parked
(d.state = 0 AND p.removed_at IS NOT NULL
 AND d.id NOT IN (SELECT value FROM json_each(:in_flight)))

-- name: state_delivered
d.state = 1

-- name: state_dead
d.state = 2

-- name: state_cancelled
d.state = 3

-- name: newest_first
ORDER BY d.id DESC LIMIT :limit

-- name: oldest_first
ORDER BY d.id LIMIT :limit

-- name: event
-- An event whole.
SELECT id AS event_id, source, type, occurred_at, accepted_at, format, content_type, headers, body
FROM event WHERE seq = ?

-- name: sent
-- The event of a delivery of an endpoint, and what is sent in place of its body.
SELECT e.id AS event_id, e.source, e.type, e.occurred_at, e.accepted_at, e.format, e.content_type,
       e.headers, e.body, p.body AS payload
FROM delivery d CROSS JOIN event e ON e.seq = d.event LEFT JOIN payload p ON p.id = d.payload
WHERE d.id = ? AND d.endpoint = ?

-- name: payload
-- What a delivery is sent for its event's data, where a transform made it.
SELECT p.body FROM delivery d CROSS JOIN payload p ON p.id = d.payload WHERE d.id = ?

-- name: attempts
-- What was tried for a delivery, oldest first.
SELECT number, started_at, duration, result, status, answer, error, retry_after
FROM attempt WHERE delivery = ? ORDER BY number

-- name: pending_ages
-- Of each endpoint's pending deliveries: the earliest due time, the earliest acceptance. Walks the
-- whole index of what is due, so for a background refresh only.
SELECT o.endpoint, o.due_at, e.accepted_at
FROM (SELECT endpoint, min(next_at) AS due_at, min(id) AS id
      FROM delivery INDEXED BY delivery_due WHERE state = 0 GROUP BY endpoint) o
CROSS JOIN delivery d ON d.id = o.id CROSS JOIN event e ON e.seq = d.event

-- name: blocked
-- How many deliveries of an endpoint wait behind others.
SELECT count(*) FROM delivery INDEXED BY delivery_due
WHERE endpoint = ? AND state = 0 AND next_at = 9e999
