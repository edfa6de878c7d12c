-- Consoles may have an owner, API keys a scope and networks that they may be used from, and logins may
-- be of users that are not ours. Lists are one entry a line.

ALTER TABLE consoles ADD COLUMN owner TEXT;

ALTER TABLE apikeys ADD COLUMN cidrs TEXT NOT NULL DEFAULT '';
ALTER TABLE apikeys ADD COLUMN sources TEXT NOT NULL DEFAULT '';
ALTER TABLE apikeys ADD COLUMN consoles TEXT NOT NULL DEFAULT '';

CREATE TABLE logins_next (
    hash BLOB NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    local_user TEXT REFERENCES users (name) ON DELETE CASCADE, -- absent: somebody else knows the user
    user_name TEXT NOT NULL,
    provider TEXT NOT NULL, -- local, keystone, oidc
    alias TEXT,
    group_names TEXT NOT NULL DEFAULT '',
    client_address TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
INSERT INTO logins_next (hash, id, local_user, user_name, provider, created_at, expires_at)
    SELECT hash, lower(hex(randomblob(8))), user_name, user_name, 'local', created_at, expires_at
    FROM logins;
DROP TABLE logins;
ALTER TABLE logins_next RENAME TO logins;
CREATE INDEX logins_by_user ON logins (user_name);
CREATE INDEX logins_by_local_user ON logins (local_user);
CREATE INDEX logins_by_expiry ON logins (expires_at);
