/* Every statement that is prepared once. Private to sqlite*.c.
 *
 * W: the writing connection prepares it, R: the reading one, A: both. The lists that are
 * put together from their filters are in sqlite_lists.c. */
#ifndef KB_STORE_SQLITE_STATEMENTS_H
#define KB_STORE_SQLITE_STATEMENTS_H

/* Looked up in a set that is made once a statement, of the few sessions that live. */
#define KB_SQL_IN_USE "(c.source, c.uuid) IN (SELECT source, uuid FROM sessions WHERE ended_at = 0)"
#define KB_SQL_CONSOLE                                                                             \
    "c.source, c.uuid, c.name, c.hypervisor, c.hypervisor_ip, c.unix_socket, c.host_subject,"      \
    " c.insecure_port, c.secure_port, c.first_seen, s.synced_at, c.owner, c.project, c.state,"     \
    " c.protocol, c.transport, " KB_SQL_IN_USE
#define KB_SQL_CONSOLES " FROM consoles c JOIN sources s ON s.name = c.source"
#define KB_SQL_GRANT                                                                               \
    "id, source, uuid, user_name, created_by, client_address, policy, created_at, expires_at,"     \
    " redeemed_at, revoked_at, max_session, idle_timeout, reusable, exchanged_at"
/* The rules that a token must pass; the same as why_not in sqlite_grants.c, which says which
 * failed. */
#define KB_SQL_MAY_START                                                                           \
    " AND revoked_at = 0 AND expires_at >= ?2 AND (client_address IS NULL OR client_address = ?3)" \
    " AND EXISTS (SELECT 1 FROM consoles c WHERE c.source = grants.source AND c.uuid = "           \
    "grants.uuid)"
/* A user, an address's group, and how many live sessions they may have; 0: any number. */
#define KB_SQL_USER_IS_FULL(user, most)                                                            \
    "(" most                                                                                       \
    " > 0 AND (SELECT count(*) FROM sessions s WHERE s.ended_at = 0 AND s.user_name = " user       \
    ") >= " most ")"
#define KB_SQL_ADDRESS_IS_FULL(address, most)                                                      \
    "(" most " > 0 AND (SELECT count(*) FROM sessions s WHERE s.ended_at = 0 AND"                  \
    " address_group(s.client_address) = address_group(" address ")) >= " most ")"
#define KB_SQL_APIKEY                                                                              \
    "id, name, role, created_by, created_at, expires_at, revoked_at, cidrs, sources, consoles"
#define KB_SQL_LOGIN "l.id, l.user_name, l.provider, l.client_address, l.created_at, l.expires_at"

/* X(name, connection, sql) */
#define KB_SQL(X)                                                                                  \
    X(BEGIN, W, "BEGIN IMMEDIATE")                                                                 \
    X(COMMIT, W, "COMMIT")                                                                         \
    X(ROLLBACK, W, "ROLLBACK")                                                                     \
    X(MARK, W, "SAVEPOINT call")                                                                   \
    X(RELEASE, W, "RELEASE call")                                                                  \
    X(UNDO, W, "ROLLBACK TO call")                                                                 \
    X(PING, W,                                                                                     \
      "INSERT INTO nodes (name, seen_at) VALUES (?1, ?2)"                                          \
      " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at")                              \
    /* consoles */                                                                                 \
    X(SOURCE_SYNCED, W,                                                                            \
      "INSERT INTO sources (name, synced_at) VALUES (?1, ?2)"                                      \
      " ON CONFLICT (name) DO UPDATE SET synced_at = excluded.synced_at")                          \
    X(SOURCE_NAMES, W, "SELECT name FROM sources ORDER BY name")                                   \
    X(SOURCE_REMOVE, W, "DELETE FROM sources WHERE name = ?1")                                     \
    X(CONSOLES_OF, W,                                                                              \
      "SELECT " KB_SQL_CONSOLE KB_SQL_CONSOLES " WHERE c.source = ?1 ORDER BY c.uuid")             \
    X(CONSOLE_INSERT, W,                                                                           \
      "INSERT INTO consoles (source, uuid, name, hypervisor, hypervisor_ip, unix_socket,"          \
      " host_subject, insecure_port, secure_port, owner, project, state, protocol, transport,"     \
      " first_seen)"                                                                               \
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)")                \
    X(CONSOLE_UPDATE, W,                                                                           \
      "UPDATE consoles SET name = ?3, hypervisor = ?4, hypervisor_ip = ?5, unix_socket = ?6,"      \
      " host_subject = ?7, insecure_port = ?8, secure_port = ?9, owner = ?10, project = ?11,"      \
      " state = ?12, protocol = ?13, transport = ?14"                                              \
      " WHERE source = ?1 AND uuid = ?2")                                                          \
    X(CONSOLE_REMOVE, W, "DELETE FROM consoles WHERE source = ?1 AND uuid = ?2")                   \
    X(CONSOLE_GET, A,                                                                              \
      "SELECT " KB_SQL_CONSOLE KB_SQL_CONSOLES " WHERE c.source = ?1 AND c.uuid = ?2")             \
    X(CONSOLE_FACTS, W, "SELECT name, owner FROM consoles WHERE source = ?1 AND uuid = ?2")        \
    /* grants */                                                                                   \
    X(GRANT_INSERT, W,                                                                             \
      "INSERT INTO grants (id, source, uuid, user_name, created_by, client_address, policy,"       \
      " token_hash, exchange_hash, created_at, expires_at, start_within, max_session,"             \
      " idle_timeout, reusable)"                                                                   \
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"                 \
      " ON CONFLICT DO NOTHING")                                                                   \
    X(GRANT_BY_ID, W, "SELECT " KB_SQL_GRANT " FROM grants WHERE id = ?1")                         \
    X(GRANT_BY_TOKEN, W, "SELECT " KB_SQL_GRANT " FROM grants WHERE token_hash = ?1")              \
    X(GRANT_BY_EXCHANGE, W, "SELECT " KB_SQL_GRANT " FROM grants WHERE exchange_hash = ?1")        \
    X(GRANT_EXCHANGE, W,                                                                           \
      "UPDATE grants SET token_hash = ?4, exchanged_at = ?2, expires_at = ?2 + start_within"       \
      " WHERE exchange_hash = ?1 AND exchanged_at = 0" KB_SQL_MAY_START                            \
      " RETURNING " KB_SQL_GRANT)                                                                  \
    X(GRANT_REDEEM, W,                                                                             \
      "UPDATE grants SET redeemed_at = CASE redeemed_at WHEN 0 THEN ?2 ELSE redeemed_at END"       \
      " WHERE token_hash = ?1 AND (redeemed_at = 0 OR reusable = 1)" KB_SQL_MAY_START              \
      " AND NOT " KB_SQL_USER_IS_FULL(                                                             \
          "grants.user_name",                                                                      \
          "?4") " AND NOT " KB_SQL_ADDRESS_IS_FULL("?3", "?5") " RETURNING " KB_SQL_GRANT)         \
    X(SESSIONS_FULL, W,                                                                            \
      "SELECT " KB_SQL_USER_IS_FULL("?1", "?2") ", " KB_SQL_ADDRESS_IS_FULL("?3", "?4"))           \
    X(GRANT_REVOKE, W,                                                                             \
      "UPDATE grants SET revoked_at = ?3 WHERE id = ?1 AND revoked_at = 0"                         \
      " AND (?2 IS NULL OR created_by = ?2) RETURNING " KB_SQL_GRANT)                              \
    X(GRANTS_REVOKE_CONSOLE, W,                                                                    \
      "UPDATE grants SET revoked_at = ?3 WHERE source = ?1 AND uuid = ?2 AND redeemed_at = 0"      \
      " AND revoked_at = 0 AND expires_at >= ?3 RETURNING " KB_SQL_GRANT)                          \
    X(GRANTS_EXPIRE, W,                                                                            \
      "UPDATE grants SET expired_at = ?1 WHERE id IN (SELECT id FROM grants"                       \
      " WHERE redeemed_at = 0 AND revoked_at = 0 AND expired_at = 0 AND expires_at < ?1"           \
      " ORDER BY expires_at LIMIT ?2) RETURNING " KB_SQL_GRANT)                                    \
    /* sessions */                                                                                 \
    X(SESSION_INSERT, W,                                                                           \
      "INSERT INTO sessions (id, node, grant_id, source, uuid, console_name, user_name,"           \
      " client_address, policy, started_at, owner)"                                                \
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")                                    \
    X(SESSION_END, W,                                                                              \
      "UPDATE sessions SET ended_at = ?2, ended_by = ?3, reason = ?4, bytes_from_client = ?5,"     \
      " bytes_from_server = ?6 WHERE id = ?1 AND ended_at = 0"                                     \
      " RETURNING id, grant_id, source, uuid, console_name, user_name, client_address, "           \
      "started_at")                                                                                \
    X(SESSIONS_RECOVER, W,                                                                         \
      "UPDATE sessions SET ended_at = ?2, reason = ?3 WHERE node = ?1 AND ended_at = 0"            \
      " RETURNING id, grant_id, source, uuid, console_name, user_name, client_address, "           \
      "started_at")                                                                                \
    X(SESSION_GET, R,                                                                              \
      "SELECT s.id, s.grant_id, s.source, s.uuid, s.console_name, s.user_name, s.owner, s.policy," \
      " s.client_address, s.started_at, s.ended_at, s.ended_by, s.reason, s.bytes_from_client,"    \
      " s.bytes_from_server, t.terminated_at, t.actor, t.apikey_id, t.request_id, t.detail"        \
      " FROM sessions s LEFT JOIN terminations t ON t.session_id = s.id WHERE s.id = ?1")          \
    X(SESSION_CHANNELS, R,                                                                         \
      "SELECT * FROM (SELECT channel_type, channel_id, opened_at, closed_at, reason,"              \
      " bytes_from_client, bytes_from_server, messages_from_client, messages_from_server, rowid"   \
      " FROM channels WHERE session_id = ?1 ORDER BY closed_at DESC, rowid DESC LIMIT ?2)"         \
      " ORDER BY closed_at, rowid")                                                                \
    X(CHANNEL_INSERT, W,                                                                           \
      "INSERT INTO channels (session_id, channel_type, channel_id, opened_at, closed_at, reason,"  \
      " bytes_from_client, bytes_from_server, messages_from_client, messages_from_server)"         \
      " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10"                                            \
      " WHERE EXISTS (SELECT 1 FROM sessions WHERE id = ?1)")                                      \
    X(TERMINATION_INSERT, W,                                                                       \
      "INSERT INTO terminations (session_id, terminated_at, actor, apikey_id, request_id, detail)" \
      " SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM sessions WHERE id = ?1)"         \
      " ON CONFLICT DO NOTHING")                                                                   \
    X(SESSION_FACTS, W, "SELECT user_name, owner FROM sessions WHERE id = ?1")                     \
    X(GRANT_FACTS, W, "SELECT user_name, NULL FROM grants WHERE id = ?1")                          \
    /* audit */                                                                                    \
    X(AUDIT_INSERT, W,                                                                             \
      "INSERT INTO audit (time, event, node, request_id, session_id, grant_id, actor, user_name,"  \
      " client_address, source, console, console_name, channel, reason, detail,"                   \
      " bytes_from_client, bytes_from_server, duration, count, owner)"                             \
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"  \
      " ?19, ?20)")                                                                                \
    X(AUDIT_DROP, W,                                                                               \
      "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE time < ?1 ORDER BY time LIMIT "   \
      "?2)")                                                                                       \
    /* The oldest rows alone are looked at, so a step is bounded without an index on the end. */   \
    X(SESSIONS_DROP, W,                                                                            \
      "DELETE FROM sessions WHERE rowid IN (SELECT n FROM (SELECT rowid AS n, ended_at FROM"       \
      " sessions ORDER BY rowid LIMIT ?2) WHERE ended_at > 0 AND ended_at < ?1)")                  \
    X(GRANTS_DROP, W,                                                                              \
      "DELETE FROM grants WHERE rowid IN (SELECT n FROM (SELECT rowid AS n, id, expires_at,"       \
      " redeemed_at + revoked_at + expired_at AS used FROM grants ORDER BY rowid LIMIT ?2) g"      \
      " WHERE expires_at < ?1 AND used > 0"                                                        \
      " AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.grant_id = g.id))")                       \
    /* users */                                                                                    \
    X(USER_INSERT, W,                                                                              \
      "INSERT INTO users (name, role, password_hash, created_at) VALUES (?1, ?2, ?3, ?4)"          \
      " ON CONFLICT DO NOTHING")                                                                   \
    X(USER_UPDATE, W,                                                                              \
      "UPDATE users SET role = coalesce(?2, role), password_hash = coalesce(?3, password_hash)"    \
      " WHERE name = ?1")                                                                          \
    X(USER_ROLE, W, "SELECT role FROM users WHERE name = ?1")                                      \
    X(USER_OTHER_ADMIN, W, "SELECT 1 FROM users WHERE role = 'admin' AND name <> ?1 LIMIT 1")      \
    X(USER_GET, R, "SELECT name, role, created_at, password_hash FROM users WHERE name = ?1")      \
    X(USERS_LIST, R, "SELECT name, role, created_at FROM users ORDER BY name")                     \
    X(USER_REMOVE, W, "DELETE FROM users WHERE name = ?1")                                         \
    /* API keys */                                                                                 \
    X(APIKEY_INSERT, W,                                                                            \
      "INSERT INTO apikeys (id, name, role, created_by, hash, created_at, expires_at, cidrs,"      \
      " sources, consoles) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"                       \
      " ON CONFLICT DO NOTHING")                                                                   \
    X(APIKEY_GET, R,                                                                               \
      "SELECT " KB_SQL_APIKEY " FROM apikeys WHERE hash = ?1 AND revoked_at = 0"                   \
      " AND (expires_at = 0 OR expires_at > ?2)")                                                  \
    X(APIKEYS_LIST, R, "SELECT " KB_SQL_APIKEY " FROM apikeys ORDER BY created_at, id")            \
    X(APIKEY_REVOKE, W,                                                                            \
      "UPDATE apikeys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at = 0 RETURNING name")        \
    /* logins */                                                                                   \
    X(LOGIN_INSERT, W,                                                                             \
      "INSERT INTO logins (hash, id, local_user, user_name, provider, alias, group_names,"         \
      " client_address, created_at, expires_at)"                                                   \
      " SELECT ?1, ?2, CASE ?4 WHEN 'local' THEN ?3 END, ?3, ?4, ?5, coalesce(?6, ''),"            \
      " coalesce(?7, ''), ?8, ?9"                                                                  \
      " WHERE ?4 <> 'local' OR EXISTS (SELECT 1 FROM users WHERE name = ?3)")                      \
    X(LOGIN_GET, R,                                                                                \
      "SELECT " KB_SQL_LOGIN ", u.role, l.alias, l.group_names"                                    \
      " FROM logins l LEFT JOIN users u ON u.name = l.local_user"                                  \
      " WHERE l.hash = ?1 AND l.expires_at > ?2")                                                  \
    X(LOGINS_LIST, R,                                                                              \
      "SELECT " KB_SQL_LOGIN " FROM logins l WHERE l.expires_at > ?2"                              \
      " AND (?1 IS NULL OR l.user_name = ?1) ORDER BY l.created_at DESC, l.id LIMIT 1000")         \
    X(LOGIN_END, W, "DELETE FROM logins WHERE hash = ?1 RETURNING id, user_name, provider")        \
    X(LOGINS_END, W,                                                                               \
      "DELETE FROM logins WHERE (?1 IS NULL OR id = ?1) AND (?2 IS NULL OR user_name = ?2)"        \
      " RETURNING id, user_name, provider")                                                        \
    X(LOGINS_END_USER, W, "DELETE FROM logins WHERE local_user = ?1")                              \
    X(LOGINS_EXPIRE, W,                                                                            \
      "DELETE FROM logins WHERE hash IN (SELECT hash FROM logins WHERE expires_at <= ?1 LIMIT "    \
      "?2)")                                                                                       \
    /* ids for one use */                                                                          \
    X(SPENT_INSERT, W,                                                                             \
      "INSERT INTO spent_ids (kind, hash, spent_at, expires_at) VALUES (?1, ?2, ?3, ?4)"           \
      " ON CONFLICT DO NOTHING")                                                                   \
    X(SPENT_DROP, W,                                                                               \
      "DELETE FROM spent_ids WHERE (kind, hash) IN (SELECT kind, hash FROM spent_ids"              \
      " WHERE expires_at <= ?1 LIMIT ?2)")

enum kb_sql {
#define X(name, connection, sql) KB_SQL_##name,
    KB_SQL(X)
#undef X
        KB_SQL_COUNT
};

#endif
