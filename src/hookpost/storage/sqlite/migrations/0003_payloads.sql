-- What a transform made of an event's data, for the deliveries that are sent it instead.
--
-- Its number is that of the first of them: so the payloads of an event lie in the range of its
-- deliveries, like these, and go with it without an index of their own.

CREATE TABLE payload (
    id   INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);
ALTER TABLE delivery ADD COLUMN payload INTEGER;  -- NULL: the event's own body is sent
