-- One-time tokens, with which a device has its new key registered: credentials of the kind "token". When one is spent, the
-- row becomes the key.

ALTER TABLE credential ADD COLUMN overlap DOUBLE PRECISION;   -- of a token: for how many seconds the principal's other keys
                                                              -- still count once it is spent; NULL: as long as they did
