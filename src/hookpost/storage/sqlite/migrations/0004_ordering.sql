-- Lines: deliveries of one endpoint that share a key are attempted one after the other.
--
-- Who waits behind another has next_at = infinity, so that it is never due; the transaction in which
-- the last one before it ends makes it due. What is not due costs nothing where deliveries are
-- claimed, however many wait.

ALTER TABLE delivery ADD COLUMN order_key INTEGER;  -- NULL: it stands in no line
ALTER TABLE delivery ADD COLUMN place INTEGER;      -- in its line: the lowest pending one is the head

CREATE INDEX delivery_line ON delivery (endpoint, order_key, place)
    WHERE state = 0 AND order_key IS NOT NULL;
CREATE INDEX delivery_blocked ON delivery (id) WHERE state = 0 AND next_at = 9e999;
