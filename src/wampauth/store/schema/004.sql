-- How an operator's tool reaches the nodes (requests.py): it leaves a request, and those who see it answer. Nothing
-- stays here for longer than a minute, but for who has the store open. And how many sessions a principal may have.

CREATE TABLE node (
    id    TEXT PRIMARY KEY,                   -- a process, told by itself
    since DOUBLE PRECISION NOT NULL
);

CREATE TABLE request (
    id   TEXT PRIMARY KEY,
    made DOUBLE PRECISION NOT NULL,
    body TEXT NOT NULL                        -- JSON
);

CREATE TABLE answer (
    request TEXT NOT NULL,
    node    TEXT NOT NULL,
    part    BIGINT NOT NULL,
    body    TEXT NOT NULL,                    -- JSON
    PRIMARY KEY (request, node, part)
);

ALTER TABLE principal ADD COLUMN max_sessions BIGINT;
