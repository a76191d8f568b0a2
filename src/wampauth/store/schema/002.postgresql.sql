-- An id of its own, and credentials of any kind: which there are is known to writing.py alone, so that another kind needs
-- no other table.

CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL);   -- random: whether another store was put in this one's place

ALTER TABLE credential DROP CONSTRAINT IF EXISTS credential_kind_check;

-- Before the first release there was no "created".
ALTER TABLE credential ADD COLUMN IF NOT EXISTS created DOUBLE PRECISION NOT NULL DEFAULT store_now();
ALTER TABLE credential ALTER COLUMN created DROP DEFAULT;
CREATE INDEX IF NOT EXISTS credential_expires ON credential (expires);
