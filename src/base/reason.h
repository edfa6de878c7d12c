/* Every way a connection, a channel or a session ends or is refused.
 *
 * Each reason has a name (logs, audit, metrics), the SPICE link error that the client sees while it
 * can still see one, and one text that says what happened and what to do. */
#ifndef KB_BASE_REASON_H
#define KB_BASE_REASON_H

/* Link errors, spice/error_codes.h of spice-protocol; the contract's "Link errors a client sees".
 */
enum {
    KB_LINK_OK = 0,
    KB_LINK_ERROR = 1,
    KB_LINK_INVALID_MAGIC = 2,
    KB_LINK_INVALID_DATA = 3,
    KB_LINK_VERSION_MISMATCH = 4,
    KB_LINK_NEED_SECURED = 5,
    KB_LINK_NEED_UNSECURED = 6,
    KB_LINK_PERMISSION_DENIED = 7,
    KB_LINK_BAD_CONNECTION_ID = 8,
    KB_LINK_CHANNEL_NOT_AVAILABLE = 9,
};

/* X(symbol, name, link error, text) */
#define KB_REASONS(X)                                                                              \
    X(NONE, "none", 0, "nothing ended it")                                                         \
    /* the client's side, before a channel */                                                      \
    X(NOT_TLS, "not_tls", 1, "the client spoke neither TLS nor SPICE")                             \
    X(PLAINTEXT, "plaintext", 5, "the client spoke SPICE without TLS; it must use the TLS port")   \
    X(TLS_FAILED, "tls_failed", 1, "the TLS handshake with the client failed")                     \
    X(SETUP_TIMEOUT, "setup_timeout", 1, "the client stayed silent before its session was set up") \
    X(UNKNOWN_PROTOCOL, "unknown_protocol", 2,                                                     \
      "inside TLS the client spoke neither SPICE nor HTTP")                                        \
    X(NOT_ACCEPTED_HERE, "not_accepted_here", 1,                                                   \
      "this listener does not accept that protocol; see its `accept` list")                        \
    X(TOO_MANY, "too_many", 1, "the limit of connections is reached")                              \
    X(TOO_MANY_HANDSHAKES, "too_many_handshakes", 1,                                               \
      "too many connections are at their TLS handshake; try again in a moment")                    \
    X(NO_DESCRIPTOR, "no_descriptor", 1, "the last file descriptors are kept for live sessions")   \
    /* link */                                                                                     \
    X(LINK_MAGIC, "link_magic", 2, "the link message does not begin with REDQ")                    \
    X(LINK_VERSION, "link_version", 4, "the client speaks another major version of SPICE than 2")  \
    X(LINK_MALFORMED, "link_malformed", 3, "the link message is malformed")                        \
    X(LINK_CHANNEL, "link_channel", 3, "the link message names a channel type that SPICE lacks")   \
    X(LINK_CAPABILITIES, "link_capabilities", 4,                                                   \
      "the client lacks the mini header or the choice of authentication; it is too old")           \
    X(LINK_MECHANISM, "link_mechanism", 3,                                                         \
      "the client chose an authentication that is not SPICE's")                                    \
    X(TICKET_MALFORMED, "ticket_malformed", 7, "the client's ticket cannot be decrypted")          \
    /* authorize */                                                                                \
    X(TOKEN_UNKNOWN, "token_unknown", 7, "no grant has this token")                                \
    X(TOKEN_EXPIRED, "token_expired", 7, "the grant's time to start a session is over; ask anew")  \
    X(TOKEN_USED, "token_used", 7, "the grant has had its session; ask for a new one")             \
    X(TOKEN_REVOKED, "token_revoked", 7, "the grant was revoked")                                  \
    X(TOKEN_ADDRESS, "token_address", 7, "the grant is pinned to another client address")          \
    X(USER_SESSIONS, "user_sessions", 1,                                                           \
      "the grant's user has as many sessions as one may have; end another and try again")          \
    X(ADDRESS_SESSIONS, "address_sessions", 1,                                                     \
      "the client's address has as many sessions as one may have; end another and try again")      \
    X(SESSION_CHANNELS, "session_channels", 1, "the session has as many channels as one may have") \
    X(CHANNEL_FORBIDDEN, "channel_forbidden", 7,                                                   \
      "the session's policy does not allow the channel")                                           \
    X(POLICY_UNKNOWN, "policy_unknown", 7,                                                         \
      "the grant names a policy that the configuration no longer has; ask for a new one")          \
    X(HOURS, "hours", 7, "the session's policy does not allow sessions at this hour")              \
    X(CONNECTION_ID, "connection_id", 8, "the connection id is not that of the token's session")   \
    X(STORE_FAILED, "store_failed", 1, "the store did not answer; see the daemon's log")           \
    X(CONSOLE_GONE, "console_gone", 9, "the source no longer lists the console")                   \
    X(SOURCE_FAILED, "source_failed", 1, "the source could not say how to reach the console")      \
    /* dial */                                                                                     \
    X(RESOLVE_FAILED, "resolve_failed", 9, "the hypervisor's name does not resolve")               \
    X(CONNECT_FAILED, "connect_failed", 9, "the hypervisor cannot be reached")                     \
    X(CONNECT_TIMEOUT, "connect_timeout", 9,                                                       \
      "the hypervisor did not answer the connection in time")                                      \
    X(PROXY_REFUSED, "proxy_refused", 9,                                                           \
      "the source's proxy did not make the connection to the hypervisor")                          \
    X(SERVER_TLS_FAILED, "server_tls_failed", 1, "the TLS handshake with the hypervisor failed")   \
    X(SERVER_CERTIFICATE, "server_certificate", 1,                                                 \
      "the hypervisor's certificate is not trusted; check the source's ca_cert")                   \
    X(SERVER_NAME, "server_name", 1,                                                               \
      "the hypervisor's certificate is for another host; set host_subject or fix the name")        \
    X(SERVER_SUBJECT, "server_subject", 1,                                                         \
      "the hypervisor's certificate subject is not the console's host_subject")                    \
    X(SERVER_NO_TLS_PORT, "server_no_tls_port", 1,                                                 \
      "the source requires TLS but lists no secure_port for the console")                          \
    X(SERVER_NO_ADDRESS, "server_no_address", 1,                                                   \
      "the source lists no address or port for the console that its tls setting allows")           \
    X(SERVER_NOT_SPICE, "server_not_spice", 9,                                                     \
      "the console speaks VNC or is a serial line; this version opens SPICE alone")                \
    X(SERVER_NEEDS_TLS, "server_needs_tls", 1,                                                     \
      "the hypervisor demands TLS; set the console's secure_port or the source's tls")             \
    X(SERVER_NEEDS_PLAIN, "server_needs_plain", 1,                                                 \
      "the hypervisor offers this channel only without TLS; the source does not allow that")       \
    X(SERVER_LINK_TIMEOUT, "server_link_timeout", 9,                                               \
      "the hypervisor did not finish the link in time")                                            \
    X(SERVER_LINK_MALFORMED, "server_link_malformed", 1,                                           \
      "the hypervisor's link reply is malformed")                                                  \
    X(SERVER_VERSION, "server_version", 1, "the hypervisor speaks another version of SPICE")       \
    X(SERVER_CAPABILITIES, "server_capabilities", 1,                                               \
      "the hypervisor lacks the mini header or ticket authentication")                             \
    X(SERVER_TICKET, "server_ticket", 1,                                                           \
      "the hypervisor refused its ticket; check the source's ticket")                              \
    X(SERVER_CONNECTION_ID, "server_connection_id", 8,                                             \
      "the hypervisor does not know the connection id")                                            \
    X(SERVER_NO_CHANNEL, "server_no_channel", 9, "the hypervisor does not offer the channel")      \
    X(SERVER_LINK_REFUSED, "server_link_refused", 1, "the hypervisor refused the link")            \
    X(SERVER_LINK_CLOSED, "server_link_closed", 9,                                                 \
      "the hypervisor closed the connection during the link")                                      \
    /* relay */                                                                                    \
    X(CLIENT_CLOSED, "client_closed", 0, "the client closed the channel")                          \
    X(CLIENT_LOST, "client_lost", 0, "the client vanished without closing the channel")            \
    X(SERVER_CLOSED, "server_closed", 0, "the hypervisor closed the channel")                      \
    X(SERVER_LOST, "server_lost", 0, "the hypervisor vanished without closing the channel")        \
    X(MESSAGE_TOO_LONG, "message_too_long", 0, "a message is longer than its kind can be")         \
    X(MESSAGE_UNKNOWN, "message_unknown", 0, "SPICE has no such message on its channel")           \
    X(MESSAGE_TOO_SHORT, "message_too_short", 0, "a message is shorter than its kind can be")      \
    X(MESSAGE_OUT_OF_PLACE, "message_out_of_place", 0,                                             \
      "a message came at a time when its kind may not come")                                       \
    X(MESSAGE_MALFORMED, "message_malformed", 0, "a message does not add up")                      \
    X(MESSAGE_FLOOD, "message_flood", 0, "too many messages of a kind that is rare by nature")     \
    X(POLICY_BLOCKED, "policy_blocked", 0, "a message is not allowed by the session's policy")     \
    X(MIGRATED, "migrated", 0, "the desktop moved to another hypervisor; open it again")           \
    X(MIGRATION_REFUSED, "migration_refused", 0,                                                   \
      "the hypervisor named a new place for the desktop that its source does not vouch for")       \
    X(SESSION_ENDED, "session_ended", 0, "the session's main channel ended")                       \
    X(TERMINATED, "terminated", 0, "the session was ended by an operator")                         \
    X(MAX_SESSION, "max_session", 0, "the session reached its longest allowed time")               \
    X(IDLE, "idle", 0, "nobody touched keyboard or mouse for the session's idle time")             \
    X(DRAINED, "drained", 0, "kerbside is stopping")                                               \
    X(NODE_RESTARTED, "node_restarted", 0, "kerbside stopped without ending its sessions")         \
    X(INTERNAL, "internal", 1, "kerbside made a mistake; see the daemon's log")

enum kb_reason {
#define X(symbol, name, code, text) KB_REASON_##symbol,
    KB_REASONS(X)
#undef X
        KB_REASON_COUNT
};

const char *kb_reason_name(enum kb_reason r); /* snake_case, stable */
const char *kb_reason_text(enum kb_reason r); /* one sentence for a person */
unsigned kb_reason_link_error(enum kb_reason r);

#endif
