-- name: read_endpoints
-- Every endpoint that was ever configured.
SELECT id, name, on_remove, max_pending, removed_at, paused_by_file, paused_by_operator, gone,
       hold_until, breaker, tokens, tokens_at, suspended_since, suspended_seconds, revived_at,
       payload_modes, created, replayed, delivered, dead, cancelled, pending, dead_letters
FROM endpoint ORDER BY id

-- name: insert_endpoint
-- A name seen for the first time.
INSERT INTO endpoint (name, on_remove, max_pending, removed_at, paused_by_file, paused_by_operator,
    gone, hold_until, breaker, tokens, tokens_at, suspended_since, suspended_seconds, revived_at,
    payload_modes)
VALUES (:name, :on_remove, :max_pending, :removed_at, :paused_by_file, :paused_by_operator,
    :gone, :hold_until, :breaker, :tokens, :tokens_at, :suspended_since, :suspended_seconds,
    :revived_at, :payload_modes)

-- name: update_endpoint
-- All that is not a counter.
UPDATE endpoint SET name = :name, on_remove = :on_remove, max_pending = :max_pending,
    removed_at = :removed_at, paused_by_file = :paused_by_file,
    paused_by_operator = :paused_by_operator, gone = :gone, hold_until = :hold_until,
    breaker = :breaker, tokens = :tokens, tokens_at = :tokens_at,
    suspended_since = :suspended_since, suspended_seconds = :suspended_seconds,
    revived_at = :revived_at, payload_modes = :payload_modes
WHERE id = :id
