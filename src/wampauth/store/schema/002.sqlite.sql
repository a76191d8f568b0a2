-- An id of its own, and credentials of any kind: which there are is known to writing.py alone, so that another kind needs
-- no other table.

CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL);   -- random: whether another store was put in this one's place

CREATE TABLE renewed (
    id         TEXT PRIMARY KEY,
    authid     TEXT NOT NULL REFERENCES principal (authid) ON DELETE CASCADE,
    kind       TEXT NOT NULL,
    verifier   TEXT NOT NULL UNIQUE,
    label      TEXT NOT NULL,
    created    DOUBLE PRECISION NOT NULL,
    not_before DOUBLE PRECISION,
    expires    DOUBLE PRECISION,
    revoked    DOUBLE PRECISION
);

-- Before the first release there was no "created": then the name means the one of "otherwise".
INSERT INTO renewed
SELECT id, authid, kind, verifier, label,
       (SELECT created FROM credential AS itself WHERE itself.id = one.id), not_before, expires, revoked
FROM (SELECT id, authid, kind, verifier, label, not_before, expires, revoked FROM credential) AS one,
     (SELECT store_now() AS created) AS otherwise;

DROP TABLE credential;
ALTER TABLE renewed RENAME TO credential;

CREATE INDEX credential_of ON credential (authid);
CREATE INDEX credential_expires ON credential (expires);
CREATE INDEX credential_chosen ON credential (authid) WHERE kind = 'chosen';
