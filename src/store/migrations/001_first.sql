-- Times are milliseconds since 1970 and 0 for "not set", durations milliseconds and 0 for "none".
-- Names that are reserved words elsewhere ("user") are avoided, so that one schema fits two engines.

CREATE TABLE nodes (
    name TEXT NOT NULL PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sources (
    name TEXT NOT NULL PRIMARY KEY,
    synced_at INTEGER NOT NULL -- all consoles of the source were last seen then
) STRICT;

CREATE TABLE consoles (
    source TEXT NOT NULL REFERENCES sources (name),
    uuid TEXT NOT NULL,
    name TEXT NOT NULL,
    hypervisor TEXT,
    hypervisor_ip TEXT,
    unix_socket TEXT,
    host_subject TEXT,
    insecure_port INTEGER NOT NULL,
    secure_port INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (source, uuid)
) STRICT;
CREATE INDEX consoles_by_name ON consoles (name, source, uuid);

-- No reference to consoles: a grant that had its session stays when the console goes.
CREATE TABLE grants (
    id TEXT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL,
    uuid TEXT NOT NULL,
    user_name TEXT NOT NULL,
    created_by TEXT NOT NULL,
    client_address TEXT,
    policy TEXT,
    token_hash BLOB UNIQUE,    -- of the console token; absent until an exchange token is traded
    exchange_hash BLOB UNIQUE, -- of the exchange token; absent when the console token was given at once
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    start_within INTEGER NOT NULL,
    exchanged_at INTEGER NOT NULL DEFAULT 0,
    redeemed_at INTEGER NOT NULL DEFAULT 0,
    revoked_at INTEGER NOT NULL DEFAULT 0,
    expired_at INTEGER NOT NULL DEFAULT 0, -- when its expiry was audited
    max_session INTEGER NOT NULL,
    idle_timeout INTEGER NOT NULL,
    reusable INTEGER NOT NULL
) STRICT;
CREATE INDEX grants_by_age ON grants (created_at, id);
CREATE INDEX grants_by_console ON grants (source, uuid);
CREATE INDEX grants_unused ON grants (expires_at)
    WHERE redeemed_at = 0 AND revoked_at = 0 AND expired_at = 0;

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    node TEXT NOT NULL,
    grant_id TEXT NOT NULL REFERENCES grants (id),
    source TEXT NOT NULL,
    uuid TEXT NOT NULL,
    console_name TEXT NOT NULL,
    user_name TEXT NOT NULL,
    client_address TEXT NOT NULL,
    policy TEXT,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL DEFAULT 0,
    ended_by TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    bytes_from_client INTEGER NOT NULL DEFAULT 0,
    bytes_from_server INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX sessions_by_grant ON sessions (grant_id);
CREATE INDEX sessions_live ON sessions (node) WHERE ended_at = 0;

-- AUTOINCREMENT: an id is never given twice, also after old events were deleted.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    event TEXT NOT NULL,
    node TEXT NOT NULL,
    request_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    grant_id TEXT NOT NULL,
    actor TEXT NOT NULL,
    user_name TEXT NOT NULL,
    client_address TEXT NOT NULL,
    source TEXT NOT NULL,
    console TEXT NOT NULL,
    console_name TEXT NOT NULL,
    channel TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    bytes_from_client INTEGER, -- NULL: the event has no bytes and no duration
    bytes_from_server INTEGER,
    duration INTEGER
) STRICT;
CREATE INDEX audit_by_time ON audit (time, id);

CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE apikeys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    created_by TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE logins (
    hash BLOB NOT NULL PRIMARY KEY,
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX logins_by_user ON logins (user_name);
CREATE INDEX logins_by_expiry ON logins (expires_at);
