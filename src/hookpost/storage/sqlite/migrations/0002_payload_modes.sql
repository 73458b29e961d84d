-- From which delivery on an endpoint's payload mode counts, JSON [[delivery, mode], ...]: what waits
-- keeps the mode it was put with. NULL: nothing is remembered, the configured mode counts for all.

ALTER TABLE endpoint ADD COLUMN payload_modes TEXT;
