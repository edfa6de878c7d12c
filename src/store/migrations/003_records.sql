-- What stays of a session when it has ended: its channels, and who ended it by order. The owner of the
-- console is kept with sessions and events, as it was then: roles may hold for one's own consoles alone.

ALTER TABLE sessions ADD COLUMN owner TEXT;
ALTER TABLE audit ADD COLUMN owner TEXT;

-- One row a channel that has carried something, written when it closes.
CREATE TABLE channels (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    channel_type INTEGER NOT NULL, -- of SPICE: 1 is main, 2 display, ...
    channel_id INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    bytes_from_client INTEGER NOT NULL,
    bytes_from_server INTEGER NOT NULL,
    messages_from_client INTEGER NOT NULL,
    messages_from_server INTEGER NOT NULL
) STRICT;
CREATE INDEX channels_by_session ON channels (session_id, closed_at);

CREATE TABLE terminations (
    session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    terminated_at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    apikey_id TEXT NOT NULL, -- '' when it was no API key
    request_id TEXT NOT NULL,
    detail TEXT NOT NULL -- the reason in the actor's words
) STRICT;

-- Ids of somebody else's that are good for one use: who inserts the row has it.
CREATE TABLE spent_ids (
    kind TEXT NOT NULL, -- whose: 'oidc'
    hash BLOB NOT NULL,
    spent_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, -- nobody would take the id after that anyway
    PRIMARY KEY (kind, hash)
) STRICT;
CREATE INDEX spent_ids_by_expiry ON spent_ids (expires_at);
