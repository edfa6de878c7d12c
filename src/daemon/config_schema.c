/* All keys of the configuration: where each goes, its default and its bounds. docs/configure.md and
 * kerbside.yaml(5) say the same to people; a test compares them. Data only. */
#include "daemon/config_schema.h"

#include "base/duration.h"

#include <stddef.h>

#define TABLE(keys)                                                                                \
    {                                                                                              \
        (keys), sizeof(keys) / sizeof(keys)[0]                                                     \
    }
#define AT(member) .offset = offsetof(struct kb_config, member)

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

static const struct kb_config_choice log_formats[] = {
    {"auto", KB_LOG_AUTO},
    {"text", KB_LOG_TEXT},
    {"json", KB_LOG_JSON},
    {"journal", KB_LOG_JOURNAL},
    {NULL, 0},
};

static const struct kb_config_choice log_levels[] = {
    {"error", KB_LOG_ERROR},
    {"warning", KB_LOG_WARNING},
    {"info", KB_LOG_INFO},
    {"debug", KB_LOG_DEBUG},
    {NULL, 0},
};

static const struct kb_config_choice tls_modes[] = {
    {"require", KB_TLS_REQUIRE},
    {"prefer", KB_TLS_PREFER},
    {"plain", KB_TLS_PLAIN},
    {NULL, 0},
};

static const struct kb_config_key top_keys[] = {
    {"listen", kb_config_read_listen, .offset = 0},
    {"metrics.address", kb_config_read_metrics, .fallback = "127.0.0.1:13003"},
    {"public.host", kb_config_read_host, AT(public.host)},
    {"public.spice_port", kb_config_read_port, AT(public.spice_port), .min = 1, .max = 65535},
    {"public.plain_port", kb_config_read_port, AT(public.plain_port), .max = 65535},
    {"public.url", kb_config_read_url, AT(public.url), .max = 1024},
    {"tls.certificate", kb_config_read_pair, AT(tls.certificate), .max = 4095},
    {"tls.key", kb_config_read_pair, AT(tls.key), .max = 4095},
    {"tls.ca", kb_config_read_path, AT(tls.ca), .max = 4095},
    {"state_dir", kb_config_read_path, AT(state_dir), "/var/lib/kerbside", .max = 4000},
    /* A socket's path has 108 bytes with its NUL, and "/admin.sock" goes behind this. */
    {"runtime_dir", kb_config_read_path, AT(runtime_dir), "/run/kerbside", .max = 96},
    {"store.url", kb_config_read_store, AT(store_url), "sqlite:kerbside.db", .max = 4095},
    {"node.name", kb_config_read_text, AT(node_name), .max = 63},
    {"node.loops", kb_config_read_unsigned, AT(loops), .max = 256},
    {"grants.start_within", kb_config_read_duration, AT(grants.start_within), "60s", SECOND,
     24 * HOUR},
    {"grants.exchange_within", kb_config_read_duration, AT(grants.exchange_within), "5m", SECOND,
     24 * HOUR},
    {"grants.max_session", kb_config_read_duration, AT(grants.max_session), "0", 0,
     KB_DURATION_MAX},
    {"grants.idle_timeout", kb_config_read_duration, AT(grants.idle_timeout), "0", 0,
     KB_DURATION_MAX},
    {"grants.reusable", kb_config_read_bool, AT(grants.reusable), "false"},
    {"retention.audit", kb_config_read_duration, AT(retention.audit), "90d", 0, KB_DURATION_MAX},
    {"retention.sessions", kb_config_read_duration, AT(retention.sessions), "30d", 0,
     KB_DURATION_MAX},
    {"identity.local.enabled", kb_config_read_bool, AT(local_logins), "true"},
    {"identity.keystone.url", kb_config_read_keystone_url, AT(identity.keystone.url), .max = 1024},
    {"identity.keystone.domain", kb_config_read_text, AT(identity.keystone.domain), "default",
     .max = 128},
    {"identity.keystone.access_group", kb_config_read_text, AT(identity.keystone.access_group),
     .max = 256},
    {"identity.keystone.admin_group", kb_config_read_text, AT(identity.keystone.admin_group),
     .max = 256},
    {"identity.keystone.ca", kb_config_read_ca, AT(identity.keystone.ca)},
    {"identity.keystone.verify", kb_config_read_bool, AT(identity.keystone.verify), "true"},
    {"identity.oidc.issuer", kb_config_read_issuer, AT(identity.oidc.issuer), .max = 1024},
    {"identity.oidc.client_id", kb_config_read_text, AT(identity.oidc.client_id), .max = 256},
    {"identity.oidc.client_secret", kb_config_read_secret, AT(identity.oidc.client_secret),
     .max = 1024},
    {"identity.oidc.groups_claim", kb_config_read_text, AT(identity.oidc.groups_claim), "groups",
     .max = 128},
    {"identity.oidc.name_claim", kb_config_read_text, AT(identity.oidc.name_claim),
     "preferred_username", .max = 128},
    {"identity.oidc.scopes", kb_config_read_text, AT(identity.oidc.scopes), "openid profile",
     .max = 256},
    {"identity.oidc.ca", kb_config_read_ca, AT(identity.oidc.ca)},
    {"identity.roles", kb_config_read_roles, .offset = 0},
    {"identity.groups", kb_config_read_group_policies, .offset = 0},
    {"policies", kb_config_read_policies},
    {"log.format", kb_config_read_choice, AT(log.format), "auto", .choices = log_formats},
    {"log.level", kb_config_read_choice, AT(log.level), "info", .choices = log_levels},
    {"drain", kb_config_read_duration, AT(drain), "10s", 0, HOUR},
    {"timeouts.setup", kb_config_read_duration, AT(timeouts.setup), "10s", SECOND / 10, 5 * MINUTE},
    {"timeouts.connect", kb_config_read_duration, AT(timeouts.connect), "5s", SECOND / 10,
     5 * MINUTE},
    {"timeouts.link", kb_config_read_duration, AT(timeouts.link), "10s", SECOND / 10, 5 * MINUTE},
    {"timeouts.request", kb_config_read_duration, AT(timeouts.request), "60s", SECOND, 5 * MINUTE},
    {"limits.connections", kb_config_read_unsigned, AT(limits.connections), "10000", 1, 1000000},
    {"limits.handshakes", kb_config_read_unsigned, AT(limits.handshakes), "2000", 1, 1000000},
    {"limits.session_channels", kb_config_read_unsigned, AT(limits.session_channels), "64", 1,
     1000},
    {"limits.user_sessions", kb_config_read_unsigned, AT(limits.user_sessions), "0", 0, 1000000},
    {"limits.address_sessions", kb_config_read_unsigned, AT(limits.address_sessions), "0", 0,
     1000000},
    {"limits.http_requests", kb_config_read_unsigned, AT(limits.http_requests), "500", 0, 100000},
    {"sources", kb_config_read_sources, .offset = 0, .required = true},
};
_Static_assert(sizeof top_keys / sizeof top_keys[0] <= KB_CONFIG_KEYS_MAX, "make room");

#define LISTEN(member) .offset = offsetof(struct kb_config_listen, member)
static const struct kb_config_key listen_keys[] = {
    {"address", kb_config_read_address, LISTEN(address), .max = 300, .required = true},
    {"accept", kb_config_read_accept, LISTEN(accept)},
};

static const struct kb_config_choice roles[] = {
    {"user", KB_ROLE_USER},
    {"broker", KB_ROLE_BROKER},
    {"auditor", KB_ROLE_AUDITOR},
    {"operator", KB_ROLE_OPERATOR},
    {"admin", KB_ROLE_ADMIN},
    {"agent", KB_ROLE_AGENT},
    {NULL, 0},
};

#define ROLE(member) .offset = offsetof(struct kb_role_rule, member)
static const struct kb_config_key role_keys[] = {
    {"role", kb_config_read_choice, ROLE(role), .choices = roles, .required = true},
    {"users", kb_config_read_texts, ROLE(users), .max = 255},
    {"groups", kb_config_read_texts, ROLE(groups), .max = 512},
    {"keys", kb_config_read_texts, ROLE(keys), .max = 128},
    {"sources", kb_config_read_texts, ROLE(scope.sources), .max = 255},
    {"consoles", kb_config_read_texts, ROLE(scope.consoles), .max = 255},
    {"policy", kb_config_read_policy_name, ROLE(policy)},
};

#define GROUP(member) .offset = offsetof(struct kb_group_policy, member)
static const struct kb_config_key group_policy_keys[] = {
    {"groups", kb_config_read_texts, GROUP(groups), .max = 512, .required = true},
    {"policy", kb_config_read_policy_name, GROUP(policy), .required = true},
};

static const struct kb_config_choice modes[] = {{"enforce", 0}, {"observe", 1}, {NULL, 0}};

static const struct kb_config_choice grammars[] = {
    {"enforce", KB_GRAMMAR_ENFORCE},
    {"observe", KB_GRAMMAR_OBSERVE},
    {NULL, 0},
};

static const struct kb_config_choice folders[] = {
    {"off", KB_FOLDERS_OFF},
    {"read_only", KB_FOLDERS_READ_ONLY},
    {"on", KB_FOLDERS_ON},
    {NULL, 0},
};

/* Where a key goes and what kind it is, policy/field.h says. */
#define FIELD kb_config_read_policy_field
static const struct kb_config_key policy_keys[] = {
    {"mode", kb_config_read_choice, .offset = offsetof(struct kb_config_policy_draft, mode),
     .fallback = "enforce", .choices = modes},
    {"grammar", FIELD, .choices = grammars},
    {"clipboard.in", FIELD},
    {"clipboard.out", FIELD},
    {"clipboard.primary", FIELD},
    {"clipboard.text_only", FIELD},
    {"clipboard.max_bytes", FIELD},
    {"files.in", FIELD},
    {"files.max_size", FIELD},
    {"files.names", FIELD},
    {"folders", FIELD, .choices = folders},
    {"usb.enabled", FIELD},
    {"usb.keyboards", FIELD},
    {"usb.filter", FIELD},
    {"sound", FIELD},
    {"microphone", FIELD},
    {"smartcard", FIELD},
    {"ports", FIELD},
    {"resize", FIELD},
    {"cursor", FIELD},
    {"view_only", FIELD},
    {"screens", FIELD, .max = 16},
    {"bandwidth", FIELD},
    {"hours.open", kb_config_read_hours},
    {"hours.zone", kb_config_read_zone},
    {"idle_timeout", FIELD, .max = KB_DURATION_MAX},
    {"max_session", FIELD, .max = KB_DURATION_MAX},
};
#undef FIELD

#define ATTACHED(member) .offset = offsetof(struct kb_attachment, member)
static const struct kb_config_key source_policy_keys[] = {
    {"consoles", kb_config_read_texts, ATTACHED(consoles), .max = 255, .required = true},
    {"policy", kb_config_read_policy_name, ATTACHED(policy), .required = true},
};

#define SOURCE(member) .offset = offsetof(struct kb_config_source_draft, member)
static const struct kb_config_key source_keys[] = {
    {"source", kb_config_read_identifier, SOURCE(config.name), .max = 255, .required = true},
    {"type", kb_config_read_text, SOURCE(config.type), .max = 64, .required = true},
    {"tls", kb_config_read_choice, SOURCE(config.tls), .choices = tls_modes},
    {"ca_cert", kb_config_read_ca, SOURCE(config.ca_cert)},
    {"policy", kb_config_read_policy_name, SOURCE(policy)},
    {"policies", kb_config_read_source_policies, .offset = 0},
    {"refresh", kb_config_read_duration, SOURCE(config.refresh), "60s", 0, 24 * HOUR},
    {"timeout", kb_config_read_duration, SOURCE(config.timeout), "10s", SECOND / 10, 5 * MINUTE},
    {"address_map", kb_config_read_address_map, .offset = 0},
    /* Last, for drivers that take it. */
    {"consoles", kb_config_read_consoles, .offset = 0},
};

#define CONSOLE(member) .offset = offsetof(struct kb_static_console, member)
static const struct kb_config_key console_keys[] = {
    {"uuid", kb_config_read_identifier, CONSOLE(uuid), .max = 255, .required = true},
    {"name", kb_config_read_text, CONSOLE(name), .max = 255},
    {"hypervisor", kb_config_read_host, CONSOLE(hypervisor)},
    {"hypervisor_ip", kb_config_read_host, CONSOLE(hypervisor_ip)},
    {"insecure_port", kb_config_read_port, CONSOLE(insecure_port), .min = 1, .max = 65535},
    {"secure_port", kb_config_read_port, CONSOLE(secure_port), .min = 1, .max = 65535},
    {"unix_socket", kb_config_read_path, CONSOLE(unix_socket), .max = 107},
    /* What SPICE can carry: SPICE_MAX_PASSWORD_LENGTH (60) with its NUL. */
    {"ticket", kb_config_read_secret, CONSOLE(ticket), .max = 59},
    {"host_subject", kb_config_read_pin, CONSOLE(host_subject), .max = 1024},
    {"owner", kb_config_read_text, CONSOLE(owner), .max = 255},
    /* Last, because files of consoles do not take it. */
    {"policy", kb_config_read_policy_name, CONSOLE(policy)},
};

const struct kb_config_table kb_config_top = TABLE(top_keys);
const struct kb_config_table kb_config_listen = TABLE(listen_keys);
const struct kb_config_table kb_config_role = TABLE(role_keys);
const struct kb_config_table kb_config_group_policy = TABLE(group_policy_keys);
const struct kb_config_table kb_config_policy = TABLE(policy_keys);
const struct kb_config_table kb_config_source_policy = TABLE(source_policy_keys);
const struct kb_config_table kb_config_source = TABLE(source_keys);
const struct kb_config_table kb_config_console = TABLE(console_keys);
