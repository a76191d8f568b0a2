-- Whom do we know? One row for a principal, one for each of its credentials.
-- Times are seconds since 1970 (UTC); NULL means "never". The store's own clock is store_now(), which database.py and
-- postgresql.py define, so that all nodes that share a store agree on the time.

CREATE TABLE store (version INTEGER NOT NULL);

CREATE TABLE principal (
    authid  TEXT PRIMARY KEY,
    realm   TEXT NOT NULL,
    role    TEXT NOT NULL CHECK (role NOT IN ('', 'trusted', 'anonymous')),
    extra   TEXT NOT NULL,                    -- a JSON object, handed to the client in authextra
    revoked DOUBLE PRECISION
);

CREATE TABLE credential (
    id         TEXT PRIMARY KEY,              -- random; travels in authextra, and means nothing to a stranger
    authid     TEXT NOT NULL REFERENCES principal (authid) ON DELETE CASCADE,
    kind       TEXT NOT NULL CHECK (kind IN ('key', 'ticket', 'chosen')),
    verifier   TEXT NOT NULL UNIQUE,          -- key: 64 hex digits; ticket: SHA-256 in hex; chosen: Argon2id
    label      TEXT NOT NULL,
    not_before DOUBLE PRECISION,
    expires    DOUBLE PRECISION,
    revoked    DOUBLE PRECISION
);

CREATE INDEX credential_of ON credential (authid);
CREATE INDEX credential_expires ON credential (expires);
CREATE INDEX credential_chosen ON credential (authid) WHERE kind = 'chosen';

-- What an operator took away or put off, in order: the authorizer asks for what came after the last it saw.
CREATE TABLE change (
    seq        BIGINT PRIMARY KEY,
    authid     TEXT NOT NULL,
    credential TEXT                           -- NULL: all of the principal's
);
