-- name: still_pending
-- Where these deliveries stand in their endpoint's order, those that are pending.
SELECT endpoint, next_at, id FROM delivery WHERE id IN (?...) AND state = 0

-- name: states_of
-- What is stored of these deliveries.
SELECT id, endpoint, state, event, reason, order_key FROM delivery WHERE id IN (?...)

-- name: make_due
-- Pending deliveries need not wait any longer, but for those before them in their line.
UPDATE delivery SET next_at = min(next_at, ?) WHERE id IN (?...) AND state = 0 AND next_at < 9e999

-- name: move
-- Pending deliveries change their endpoint and begin a new round there.
UPDATE delivery SET endpoint = ?, next_at = ?, round_started = ?, round_attempts = 0,
    replayed_at = ?, replayed_after = coalesce(replayed_after, attempts)
WHERE id IN (?...) AND state = 0

-- name: join_line
-- A pending delivery, moved or replayed just now, is the last of its line, and due then.
UPDATE delivery SET next_at = ?, place = ? WHERE id = ?

-- name: cancel
-- Pending deliveries and dead letters end by a person's word.
UPDATE delivery SET state = 3, reason = NULL, settled_at = ? WHERE id IN (?...) AND state IN (0, 2)

-- name: replay
-- A dead letter begins a new round, at the tail.
UPDATE delivery SET state = 0, reason = NULL, settled_at = NULL, next_at = ?, round_started = ?,
    died_at = coalesce(died_at, settled_at), died_reason = coalesce(died_reason, reason),
    round_attempts = 0, replayed_at = ?, replayed_after = coalesce(replayed_after, attempts)
WHERE id = ? AND state = 2

-- name: delete_dead
-- Dead letters that nobody wants any more.
DELETE FROM delivery WHERE id IN (?...) AND state = 2
