/* What a configuration without a mistake says: values, defaults, secrets, paths, certificates. */
#include "fixture.h"

#include <unistd.h>

#define SOURCES "sources: [{source: lab, type: static, consoles: []}]\n"

static void test_defaults(void **state)
{
    struct fixture *f = *state;
    char name[256];
    assert_int_equal(gethostname(name, sizeof name), 0);
    struct kb_config *c = load(f, SOURCES);
    assert_problems(f, "");
    assert_non_null(c);
    assert_string_equal(c->file, f->file);
    assert_int_equal(c->listen_count, 1);
    assert_string_equal(c->listens[0].host, "");
    assert_int_equal(c->listens[0].port, 8443);
    assert_int_equal(c->listens[0].accept, KB_ACCEPT_SPICE | KB_ACCEPT_HTTP);
    assert_string_equal(c->metrics_host, "127.0.0.1");
    assert_int_equal(c->metrics_port, 13003);
    assert_string_equal(c->public.host, name);
    assert_int_equal(c->public.spice_port, 8443);
    assert_int_equal(c->public.plain_port, 0);
    kb_auto_free char *url = kb_printf("https://%s:8443", name);
    assert_string_equal(c->public.url, url);
    assert_null(c->tls.certificate[0]);
    assert_null(c->tls.key[0]);
    assert_null(c->tls.ca);
    assert_string_equal(c->state_dir, "/var/lib/kerbside");
    assert_string_equal(c->runtime_dir, "/run/kerbside");
    assert_string_equal(c->store_url, "sqlite:kerbside.db");
    assert_memory_equal(c->node_name, name, strlen(name) < 63 ? strlen(name) + 1 : 63);
    assert_int_equal(c->loops, 0);
    assert_int_equal(c->grants.start_within, 60000);
    assert_int_equal(c->grants.exchange_within, 300000);
    assert_int_equal(c->grants.max_session, 0);
    assert_int_equal(c->grants.idle_timeout, 0);
    assert_false(c->grants.reusable);
    assert_true(c->local_logins);
    assert_int_equal(c->log.format, KB_LOG_AUTO);
    assert_int_equal(c->log.level, KB_LOG_INFO);
    assert_int_equal(c->drain, 10000);
    assert_int_equal(c->timeouts.setup, 10000);
    assert_int_equal(c->timeouts.connect, 5000);
    assert_int_equal(c->timeouts.link, 10000);
    assert_int_equal(c->timeouts.request, 60000);
    assert_int_equal(c->limits.http_requests, 500);
    assert_int_equal(c->limits.connections, 10000);
    assert_int_equal(c->limits.handshakes, 2000);
    assert_int_equal(c->limits.session_channels, 64);
    assert_int_equal(c->limits.user_sessions, 0);
    assert_int_equal(c->limits.address_sessions, 0);
    assert_int_equal(c->source_count, 1);
    assert_int_equal(c->warnings, 0);
    assert_int_equal(c->bad_sources, 0);
    kb_config_destroy(c);
}

static void test_all_values(void **state)
{
    struct fixture *f = *state;
    struct kb_config *c =
        load(f, "listen:\n"
                "  - {address: 'localhost:1', accept: [http]}\n"
                "  - {address: '[fe80::1%lo]:2', accept: [spice, http, redirect]}\n"
                "  - {address: '*:0', accept: [redirect]}\n"
                "metrics: {address: '[::1]:9'}\n"
                "public: {host: 2001:db8::1, spice_port: 5, plain_port: 6}\n"
                "state_dir: state\nruntime_dir: /tmp/r\nstore: {url: 'sqlite:/x/y.db'}\n"
                "node: {name: gateway, loops: 256}\n"
                "grants: {start_within: 1s, exchange_within: 24h, max_session: 8h, idle_timeout: "
                "1500ms, reusable: yes}\n"
                "identity: {local: {enabled: False}}\n"
                "log: {format: \"json\", level: debug}\ndrain: 0\n"
                "timeouts: {setup: 100ms, connect: 5m, link: 1m, request: 1s}\nlimits: "
                "{connections: 7, http_requests: 0, handshakes: 8, session_channels: 9, "
                "user_sessions: 10, address_sessions: 11}\n" SOURCES);
    assert_problems(f, "");
    assert_non_null(c);
    assert_int_equal(c->listen_count, 3);
    assert_string_equal(c->listens[0].address, "localhost:1");
    assert_string_equal(c->listens[0].host, "localhost");
    assert_int_equal(c->listens[0].port, 1);
    assert_int_equal(c->listens[0].accept, KB_ACCEPT_HTTP);
    assert_string_equal(c->listens[1].host, "fe80::1%lo");
    assert_int_equal(c->listens[1].accept, KB_ACCEPT_SPICE | KB_ACCEPT_HTTP | KB_ACCEPT_REDIRECT);
    assert_string_equal(c->listens[2].host, "");
    assert_int_equal(c->listens[2].port, 0);
    assert_int_equal(c->listens[2].accept, KB_ACCEPT_REDIRECT);
    assert_string_equal(c->metrics_host, "::1");
    assert_int_equal(c->metrics_port, 9);
    assert_string_equal(c->public.host, "2001:db8::1");
    assert_int_equal(c->public.spice_port, 5);
    assert_int_equal(c->public.plain_port, 6);
    assert_string_equal(c->public.url, "https://[2001:db8::1]:1");
    kb_auto_free char *folder = kb_printf("%s/state", f->folder);
    assert_string_equal(c->state_dir, folder);
    assert_string_equal(c->runtime_dir, "/tmp/r");
    assert_string_equal(c->store_url, "sqlite:/x/y.db");
    assert_string_equal(c->node_name, "gateway");
    assert_int_equal(c->loops, 256);
    assert_int_equal(c->grants.start_within, 1000);
    assert_int_equal(c->grants.exchange_within, 24 * 3600 * 1000);
    assert_int_equal(c->grants.max_session, 8 * 3600 * 1000);
    assert_int_equal(c->grants.idle_timeout, 1500);
    assert_true(c->grants.reusable);
    assert_false(c->local_logins);
    assert_int_equal(c->log.format, KB_LOG_JSON);
    assert_int_equal(c->log.level, KB_LOG_DEBUG);
    assert_int_equal(c->drain, 0);
    assert_int_equal(c->timeouts.setup, 100);
    assert_int_equal(c->timeouts.connect, 300000);
    assert_int_equal(c->timeouts.link, 60000);
    assert_int_equal(c->timeouts.request, 1000);
    assert_int_equal(c->limits.http_requests, 0);
    assert_int_equal(c->limits.connections, 7);
    assert_int_equal(c->limits.handshakes, 8);
    assert_int_equal(c->limits.session_channels, 9);
    assert_int_equal(c->limits.user_sessions, 10);
    assert_int_equal(c->limits.address_sessions, 11);
    kb_config_destroy(c);
}

struct public_case {
    const char *text, *url;
    unsigned spice_port;
};

static void test_public(void **state)
{
    struct fixture *f = *state;
    static const struct public_case cases[] = {
        {"public: {host: d}\n", "https://d:8443", 8443},
        {"public: {host: d}\nlisten: [{address: ':443'}]\n", "https://d", 443},
        {"public: {host: d, url: 'https://d/'}\n", "https://d", 8443},
        {"public: {host: d, url: 'http://e:80/kerbside//'}\n", "http://e:80/kerbside", 8443},
        {"public: {host: d}\nlisten: [{address: ':0'}]\n", NULL, 0},
        {"public: {host: d, spice_port: 9}\nlisten: [{address: ':1', accept: [http]}]\n",
         "https://d:1", 9},
        {"public: {host: d}\nlisten: [{address: ':1', accept: [redirect]}, "
         "{address: ':2', accept: [spice]}]\n",
         "https://d", 2},
        {"metrics: {address: off}\npublic: {host: d}\n", "https://d:8443", 8443},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kb_auto_free char *text = kb_printf("%s%s", cases[i].text, SOURCES);
        struct kb_config *c = load(f, text);
        assert_problems(f, "");
        assert_non_null(c);
        assert_string_equal(c->public.url ? c->public.url : "none",
                            cases[i].url ? cases[i].url : "none");
        assert_int_equal(c->public.spice_port, cases[i].spice_port);
        assert_int_equal(c->metrics_host == NULL, strncmp(cases[i].text, "metrics", 7) == 0);
        kb_config_destroy(c);
    }
}

/* Booleans in all the ways of YAML 1.1, and nothing else. */
static void test_booleans(void **state)
{
    struct fixture *f = *state;
    static const char *const words[] = {"true", "True", "TRUE", "yes", "on", "ON", "false",
                                        "no",   "No",   "off",  "OFF", "y",  "1",  "tRUE"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        kb_auto_free char *text = kb_printf("grants: {reusable: %s}\n" SOURCES, words[i]);
        struct kb_config *c = load(f, text);
        assert_int_equal(c != NULL, i < 11);
        if (c)
            assert_int_equal(c->grants.reusable, i < 6);
        kb_config_destroy(c);
    }
}

static void test_merge_keys(void **state)
{
    struct fixture *f = *state;
    struct kb_config *c = load(
        f, "timeouts: &t {setup: 1s, link: 2s}\n"
           "sources:\n"
           "- &lab\n"
           "  source: one\n"
           "  type: static\n"
           "  consoles: [&c {uuid: u1, hypervisor: h, secure_port: 1}]\n"
           "- <<: *lab\n"
           "  source: two\n"
           "  consoles: [{<<: *c, uuid: u2, secure_port: 2}, {uuid: u3, <<: [*c, {name: n}]}]\n");
    assert_problems(f, "");
    assert_non_null(c);
    assert_int_equal(c->source_count, 2);
    assert_string_equal(c->sources[1].name, "two");
    assert_string_equal(c->sources[1].type, "static");
    assert_int_equal(c->sources[1].console_count, 2);
    assert_string_equal(c->sources[1].consoles[0].uuid, "u2");
    assert_string_equal(c->sources[1].consoles[0].hypervisor, "h");
    assert_int_equal(c->sources[1].consoles[0].secure_port, 2);
    assert_string_equal(c->sources[1].consoles[1].uuid, "u3");
    assert_string_equal(c->sources[1].consoles[1].name, "n");
    assert_int_equal(c->sources[1].consoles[1].secure_port, 1);
    kb_config_destroy(c);
}

/* --- the server's certificate ----------------------------------------------------------------- */

static void test_tls(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *cert = NULL, *key = NULL, *other = NULL, *other_key = NULL, *old = NULL,
                      *old_key = NULL;
    make_certificate("one", 3000, &cert, &key);
    make_certificate("two", 3000, &other, &other_key);
    make_certificate("old", -1, &old, &old_key);
    free(put(f, "a.pem", cert));
    free(put(f, "a.key", key));
    free(put(f, "b.key", other_key));
    free(put(f, "old.pem", old));
    free(put(f, "old.key", old_key));
    kb_auto_free char *half = kb_printf("%.100s\n-----END CERTIFICATE-----\n", cert);
    free(put(f, "half.pem", half));

    struct kb_config *c = load(f, SOURCES "tls: {certificate: a.pem, key: '@/a.key', ca: a.pem}\n");
    assert_problems(f, "");
    assert_non_null(c);
    kb_auto_free char *path = expand(f, "@/a.pem");
    assert_string_equal(c->tls.certificate[0], path);
    assert_null(c->tls.certificate[1]);
    assert_string_equal(c->tls.ca, path);
    kb_config_destroy(c);

    assert_null(load(f, SOURCES "tls: {certificate: a.pem, key: b.key}\n"));
    assert_problems(f, "@/kerbside.yaml:2: tls.key: @/b.key: the key does not belong to the "
                       "certificate\n");
    assert_null(load(f, SOURCES "tls: {certificate: a.key, key: a.pem}\n"));
    assert_problems(f,
                    "@/kerbside.yaml:2: tls.certificate: @/a.key: there is no certificate in it\n"
                    "@/kerbside.yaml:2: tls.key: @/a.pem: there is no private key without "
                    "passphrase in it (unsupported)\n");
    assert_null(load(f, SOURCES "tls:\n  certificate: a.pem\n"));
    assert_problems(f, "@/kerbside.yaml:3: tls.key: is required, because tls.certificate is set\n");
    assert_null(load(f, SOURCES "tls:\n  key: a.key\n"));
    assert_problems(f, "@/kerbside.yaml:3: tls.certificate: is required, because tls.key is set\n");
    assert_null(load(f, SOURCES "tls:\n  ca: a.pem\n"));
    assert_problems(f,
                    "@/kerbside.yaml:3: tls.ca: has no use without tls.certificate and tls.key\n");
    assert_null(load(f, SOURCES "tls:\n  certificate: none.pem\n  key: a.key\n  ca: half.pem\n"));
    kb_auto_free char *problems = kb_buf_steal(&f->problems);
    kb_auto_free char *none =
        expand(f, "@/kerbside.yaml:3: tls.certificate: @/none.pem: No such file or directory\n"
                  "@/kerbside.yaml:5: tls.ca: @/half.pem: certificate 1 is damaged: ");
    assert_memory_equal(problems, none, strlen(none));

    c = load(f, SOURCES "tls: {certificate: old.pem, key: old.key}\n");
    assert_problems(f, "@/kerbside.yaml:2: warning: tls.certificate: @/old.pem: a certificate has "
                       "expired\n");
    assert_non_null(c);
    assert_int_equal(c->warnings, 1);
    kb_config_destroy(c);
}

static void test_two_certificates(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *cert = NULL, *key = NULL, *rsa = NULL, *rsa_key = NULL, *other = NULL,
                      *other_key = NULL, *old = NULL, *old_key = NULL;
    make_certificate("one", 3000, &cert, &key);
    make_rsa_certificate("one", 3000, &rsa, &rsa_key);
    make_certificate("two", 3000, &other, &other_key);
    make_rsa_certificate("one", -1, &old, &old_key);
    free(put(f, "ec.pem", cert));
    free(put(f, "ec.key", key));
    free(put(f, "rsa.pem", rsa));
    free(put(f, "rsa.key", rsa_key));
    free(put(f, "two.pem", other));
    free(put(f, "two.key", other_key));
    free(put(f, "old.pem", old));
    free(put(f, "old.key", old_key));

    struct kb_config *c =
        load(f, SOURCES "tls: {certificate: [ec.pem, rsa.pem], key: [ec.key, rsa.key]}\n");
    assert_problems(f, "");
    assert_non_null(c);
    kb_auto_free char *path = expand(f, "@/rsa.pem");
    assert_string_equal(c->tls.certificate[1], path);
    kb_auto_free char *key_path = expand(f, "@/rsa.key");
    assert_string_equal(c->tls.key[1], key_path);
    kb_config_destroy(c);

    c = load(f, SOURCES "tls: {certificate: [ec.pem], key: ec.key}\n");
    assert_problems(f, "");
    assert_null(c->tls.certificate[1]);
    kb_config_destroy(c);

    c = load(f, SOURCES "tls:\n  certificate:\n  - ec.pem\n  - old.pem\n"
                        "  key: [ec.key, old.key]\n");
    assert_problems(f, "@/kerbside.yaml:5: warning: tls.certificate[1]: @/old.pem: a certificate "
                       "has expired\n");
    assert_non_null(c);
    kb_config_destroy(c);

    static const struct {
        const char *tls, *problems;
    } wrong[] = {
        {"{certificate: [ec.pem, two.pem], key: [ec.key, two.key]}",
         "@/kerbside.yaml:2: tls.certificate: both certificates have keys of the same kind; one is "
         "to have an ECDSA key, the other an RSA key\n"},
        {"{certificate: [rsa.pem, two.pem], key: [rsa.key, two.key]}",
         "@/kerbside.yaml:2: tls.certificate: the certificates have different subjects; viewers "
         "are told one (host-subject), and refuse the other\n"},
        {"{certificate: [ec.pem, rsa.pem], key: [rsa.key, ec.key]}",
         "@/kerbside.yaml:2: tls.key[0]: @/rsa.key: the key does not belong to the certificate\n"
         "@/kerbside.yaml:2: tls.key[1]: @/ec.key: the key does not belong to the certificate\n"},
        {"{certificate: [ec.pem, rsa.pem], key: ec.key}",
         "@/kerbside.yaml:2: tls.key: needs as many entries as tls.certificate has\n"},
        {"{certificate: ec.pem, key: [ec.key, rsa.key]}",
         "@/kerbside.yaml:2: tls.certificate: needs as many entries as tls.key has\n"},
        {"{certificate: [ec.pem, none.pem], key: [ec.key, rsa.key]}",
         "@/kerbside.yaml:2: tls.certificate[1]: @/none.pem: No such file or directory\n"},
        {"{certificate: [ec.pem, rsa.pem, two.pem], key: [ec.key, rsa.key, two.key]}",
         "@/kerbside.yaml:2: tls.certificate: must be one path or a list of two\n"
         "@/kerbside.yaml:2: tls.key: must be one path or a list of two\n"},
        {"{certificate: [ec.pem, [rsa.pem]], key: [ec.key, rsa.key]}",
         "@/kerbside.yaml:2: tls.certificate[1]: must be a text, not a list\n"
         "@/kerbside.yaml:2: tls.certificate[1]: needs as many entries as tls.key has\n"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        kb_auto_free char *text = kb_printf("%stls: %s\n", SOURCES, wrong[i].tls);
        assert_null(load(f, text));
        assert_problems(f, wrong[i].problems);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_public, setup, teardown),
        cmocka_unit_test_setup_teardown(test_booleans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_certificates, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
