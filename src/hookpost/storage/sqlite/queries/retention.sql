-- name: sweep_candidates
-- Pending deliveries of one endpoint, any order, with the keys of their lines.
SELECT id, order_key FROM delivery WHERE endpoint = ? AND state = 0 LIMIT ?

-- name: sweep
-- Pending deliveries of a removed endpoint end.
UPDATE delivery SET state = ?, reason = ?, settled_at = ? WHERE id IN (?...) AND state = 0

-- name: own_events
-- How many of these deliveries are of events of this source.
SELECT count(*) FROM delivery d JOIN event e ON e.seq = d.event
WHERE e.source = ? AND d.id IN (?...)

-- name: oldest_finished
-- When the delivery that was finished first in this state was finished.
SELECT settled_at FROM delivery WHERE state = ? AND state > 0 ORDER BY settled_at LIMIT 1

-- name: finished_before
-- Finished deliveries, oldest first, with the size of what was sent.
SELECT d.id, d.event, d.endpoint, coalesce(length(e.body), 0) + coalesce(length(p.body), 0)
FROM delivery d LEFT JOIN event e ON e.seq = d.event LEFT JOIN payload p ON p.id = d.payload
WHERE d.state = ? AND d.state > 0 AND d.settled_at <= ? ORDER BY d.settled_at LIMIT ?

-- name: delete_attempts
-- What was tried for these deliveries.
DELETE FROM attempt WHERE delivery IN (?...)

-- name: delete_finished
-- These deliveries, unless they came alive again.
DELETE FROM delivery WHERE id IN (?...) AND state > 0

-- name: delete_bare_payloads
-- What transforms made of those of these events that no delivery refers to any more.
DELETE FROM payload WHERE id IN (
    SELECT p.id FROM event e CROSS JOIN payload p
    ON p.id >= e.first_delivery AND p.id < e.first_delivery + e.deliveries
    WHERE e.seq IN (?...) AND NOT EXISTS (
        SELECT 1 FROM delivery d
        WHERE d.id >= e.first_delivery AND d.id < e.first_delivery + e.deliveries))

-- name: delete_bare_events
-- Those of these events that no delivery refers to any more.
DELETE FROM event WHERE seq IN (?...) AND NOT EXISTS (
    SELECT 1 FROM delivery d
    WHERE d.id >= event.first_delivery AND d.id < event.first_delivery + event.deliveries)

-- name: oldest_unrouted
-- When the oldest event that nobody was owed came in.
SELECT accepted_at FROM event WHERE deliveries = 0 ORDER BY accepted_at LIMIT 1

-- name: unrouted_before
-- Events that nobody was owed, oldest first, with their size.
SELECT seq, length(body) FROM event
WHERE deliveries = 0 AND accepted_at <= ? ORDER BY accepted_at LIMIT ?

-- name: delete_events
-- These events.
DELETE FROM event WHERE seq IN (?...)

-- name: delete_identities
-- Identities past their dedup window.
DELETE FROM dedup WHERE identity IN (
    SELECT identity FROM dedup WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)

-- name: forget_early
-- Identities that are still inside their window, those nearest to its end.
DELETE FROM dedup WHERE identity IN (
    SELECT identity FROM dedup ORDER BY expires_at LIMIT ?)
