/* The sources of a configuration: lists and files of them, consoles, tickets, and what one bad
 * source costs. */
#include "fixture.h"

#include "source/driver.h"

#include <sys/stat.h>
#include <unistd.h>

static void test_console(void **state)
{
    struct fixture *f = *state;
    struct kb_config *c =
        load(f, "sources:\n"
                "- source: lab\n"
                "  type: static\n"
                "  tls: prefer\n"
                "  consoles:\n"
                "  - uuid: u1\n"
                "    name: Büro 1\n"
                "    hypervisor: hv1.example.org\n"
                "    hypervisor_ip: 192.0.2.1\n"
                "    insecure_port: 5900\n"
                "    secure_port: '5901'\n"
                "    ticket: \"s3: #cret\"\n"
                "    host_subject: C=AU, O=Lab,CN=hv1\n"
                "  - {uuid: u2, unix_socket: run/u2.sock}\n"
                "  - {uuid: u3, hypervisor_ip: '2001:db8::3', secure_port: 1, ticket: , "
                "host_subject: ''}\n");
    assert_problems(f, "");
    assert_non_null(c);
    assert_int_equal(c->source_count, 1);
    struct kb_source_config *s = &c->sources[0];
    assert_string_equal(s->name, "lab");
    assert_string_equal(s->type, "static");
    assert_int_equal(s->tls, KB_TLS_PREFER);
    assert_null(s->ca_cert);
    assert_null(s->error);
    assert_int_equal(s->console_count, 3);
    struct kb_static_console *k = s->consoles;
    assert_string_equal(k[0].uuid, "u1");
    assert_string_equal(k[0].name, "Büro 1");
    assert_string_equal(k[0].hypervisor, "hv1.example.org");
    assert_string_equal(k[0].hypervisor_ip, "192.0.2.1");
    assert_int_equal(k[0].insecure_port, 5900);
    assert_int_equal(k[0].secure_port, 5901);
    assert_string_equal(kb_secret_text(&k[0].ticket), "s3: #cret");
    assert_string_equal(k[0].host_subject, "C=AU, O=Lab,CN=hv1");
    assert_null(k[0].unix_socket);
    kb_auto_free char *path = expand(f, "@/run/u2.sock");
    assert_string_equal(k[1].unix_socket, path);
    assert_null(k[1].name);
    assert_null(k[1].hypervisor);
    assert_string_equal(kb_secret_text(&k[1].ticket), "");
    assert_string_equal(k[2].hypervisor_ip, "2001:db8::3");
    assert_null(k[2].host_subject);
    kb_config_destroy(c);

    c = load(f, "sources: [{source: lab, type: static, consoles: []}]\n");
    assert_non_null(c);
    assert_int_equal(c->sources[0].tls, KB_TLS_UNSET);
    kb_config_destroy(c);
}

/* --- upstream's file -------------------------------------------------------------------------- */

static void test_upstream(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *text = slurp(KB_SOURCE_ROOT "/tests/unit/daemon/sources-upstream.yaml");
    free(put(f, "sources.yaml", text));
    struct kb_config *c = load(f, "sources: sources.yaml\n");
    assert_problems(f, "");
    assert_non_null(c);
    assert_int_equal(c->warnings, 0);
    assert_int_equal(c->bad_sources, 0);
    assert_int_equal(c->source_count, 5);
    const struct kb_source_config *s = &c->sources[0];
    assert_string_equal(s->name, "sf-1");
    assert_string_equal(kb_setting_text(s, "username"), "system");
    assert_string_equal(kb_setting_secret(s, "password"), "0123456");
    assert_true(kb_setting_flag(s, "synthesize_host_subject"));
    assert_non_null(s->ca_cert);
    s = &c->sources[1];
    assert_string_equal(s->name, "ovirt-1");
    assert_string_equal(kb_setting_text(s, "url"), "https://ovirt.example.org/ovirt-engine");
    assert_string_equal(kb_setting_text(s, "username"), "admin@ovirt@internalsso");
    assert_string_equal(kb_setting_secret(s, "password"), "hunter2");
    assert_int_equal(kb_setting_number(s, "ticket_expiry"), 60000);
    assert_true(kb_setting_flag(s, "verify"));
    assert_non_null(strstr(s->ca_cert, "-----BEGIN CERTIFICATE-----"));
    s = &c->sources[2];
    assert_string_equal(s->name, "cloud");
    assert_string_equal(kb_setting_secret(s, "password"), "2026-01-31");
    assert_string_equal(kb_setting_text(s, "project_name"), "admin");
    assert_int_equal(kb_setting_word(s, "interface"), 0);
    assert_int_equal(s->refresh, KB_SOURCE_REFRESH_MS);
    assert_int_equal(s->timeout, KB_SOURCE_TIMEOUT_MS);
    assert_string_equal(c->sources[3].name, "1e3");
    assert_int_equal(c->sources[3].console_count, 2);
    struct kb_static_console *k = c->sources[3].consoles;
    assert_string_equal(k[0].uuid, "3735928559");
    assert_string_equal(k[0].name, "2026-01-31");
    assert_string_equal(kb_secret_text(&k[0].ticket), "0123456");
    assert_int_equal(k[0].secure_port, 5901);
    assert_string_equal(k[1].name, "no");
    assert_string_equal(k[1].hypervisor_ip, "2001:db8::2");
    assert_null(k[1].ticket.text);
    assert_string_equal(c->sources[4].name, "empty");
    assert_int_equal(c->sources[4].console_count, 0);
    kb_config_destroy(c);
}

/* Keys that a driver declares: their kinds, their bounds, and what is unknown. */
static void test_driver_keys(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *more, *problem; /* problem NULL: good */
    } cases[] = {
        {"", NULL},
        {", refresh: 0, timeout: 500ms, address_map: {\"*.x\": h, 10.0.0.0/8: 11.0.0.0/8}", NULL},
        {", verify: no, token: {env: PATH}", NULL},
        {", tokn: x", "unknown key; did you mean token?"},
        {", consoles: []", "unknown key"},
        {", refresh: 2d", "must be from 0"},
        {", timeout: 1ms", "must be from 100ms"},
        {", verify: nowhere.pem", "No such file"},
        {", address_map: [a]", "must be a map of hosts to hosts"},
        {", address_map: {a: \"b c\"}", "is neither a host name nor an IP address"},
        {", address_map: {10.0.0.0/33: b}", "is not a network"},
        {", url: ftp://x/y", "must be a URL that starts with https:// or http://"},
        {", url: \"https://x/y#z\"", "without a #"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->problems.len = 0;
        bool url = strstr(cases[i].more, "url") != NULL;
        kb_auto_free char *text =
            kb_printf("sources: [{source: a, type: http%s%s}]\n",
                      url ? "" : ", url: \"https://h/c/?x=y\"", cases[i].more);
        struct kb_config *c = load(f, text);
        assert_non_null(c);
        if (c->bad_sources != (cases[i].problem != NULL))
            fail_msg("%s", cases[i].more);
        kb_config_destroy(c);
        kb_buf_add(&f->problems, "", 1);
        if (cases[i].problem && !strstr((char *)f->problems.data, cases[i].problem))
            fail_msg("%s: %s", cases[i].more, (char *)f->problems.data);
    }
    f->problems.len = 0;
}

static void test_file_of_sources(void **state)
{
    struct fixture *f = *state;
    assert_null(load(f, "\nsources: other.yaml\n"));
    assert_problems(
        f, "@/kerbside.yaml:2: sources: cannot read @/other.yaml: No such file or directory\n");
    assert_null(load(f, "sources: '@'\n"));
    assert_problems(f, "@/kerbside.yaml:1: sources: cannot read @: it is not a regular file\n");
    free(put(f, "other.yaml", ""));
    assert_null(load(f, "drain: 5\nsources: other.yaml\n"));
    assert_problems(f, "@/kerbside.yaml:1: drain: must be a duration such as 500ms, 60s, 5m or 2h, "
                       "not 5\n"
                       "@/other.yaml: sources: the file is empty; it must hold a list, [] for no "
                       "source\n");
    free(put(f, "other.yaml", "source: lab\n"));
    assert_null(load(f, "sources: other.yaml\n"));
    assert_problems(f, "@/other.yaml:1: sources: must be a list, not a mapping\n");
    free(put(f, "other.yaml", "\n- {"));
    assert_null(load(f, "sources: other.yaml\n"));
    assert_int_not_equal(f->problems.len, 0);
    free(put(f, "other.yaml", "- kerbside.yaml\n")); /* no file within a file */
    struct kb_config *c = load(f, "sources: other.yaml\n");
    assert_problems(f, "@/other.yaml:1: sources[0]: source without a name is not loaded: must be a "
                       "mapping of keys, not a text\n"
                       "@/other.yaml:1: sources[0].source: source without a name is not loaded: is "
                       "required\n"
                       "@/other.yaml:1: sources[0].type: source without a name is not loaded: is "
                       "required\n");
    assert_non_null(c);
    assert_int_equal(c->source_count, 0);
    assert_int_equal(c->bad_sources, 1);
    kb_config_destroy(c);
    assert_null(load(f, "sources: {a: b}\n"));
    assert_problems(f, "@/kerbside.yaml:1: sources: must be a list or a path, not a mapping\n");
}

/* --- what one bad source costs ---------------------------------------------------------------- */

#define GOOD "  - {source: good, type: static, consoles: [{uuid: g, unix_socket: /g}]}\n"
#define BAD(what) "sources:\n  - {source: bad, type: static, " what "}\n" GOOD
#define ONE(console) BAD("consoles: [" console "]")
#define LINE(key, what) "@/kerbside.yaml:2: sources[0]" key ": source bad is not loaded: " what "\n"
#define LINE1(key, what) LINE(".consoles[0]" key, what)

struct bad_case {
    const char *text, *problems, *error;
};

static const struct bad_case bad_cases[] = {
    {BAD("tls: maybe, consoles: []"), LINE(".tls", "must be require, prefer or plain, not maybe"),
     "its configuration has 1 problem; kerbside check shows it"},
    {BAD("tls: maybe, x: 1"),
     LINE(".tls", "must be require, prefer or plain, not maybe") LINE(".x", "unknown key")
         LINE(".consoles", "is required where there is no path"),
     "its configuration has 3 problems; kerbside check shows them"},
    {BAD("consoles: {}"), LINE(".consoles", "must be a list, not a mapping"), ""},
    {BAD("consoles: "), LINE(".consoles", "is required where there is no path"), ""},
    {BAD("consol: []"),
     LINE(".consol", "unknown key; did you mean consoles?")
         LINE(".consoles", "is required where there is no path"),
     ""},
    {ONE("{}"), LINE1(".uuid", "is required"), ""},
    {ONE("u1"), LINE1("", "must be a mapping of keys, not a text") LINE1(".uuid", "is required"),
     ""},
    {ONE("{uuid: u}"),
     LINE1("", "needs hypervisor_ip, hypervisor or unix_socket")
         LINE1("", "needs insecure_port, secure_port or unix_socket"),
     ""},
    {ONE("{uuid: u, hypervisor: h}"), LINE1("", "needs insecure_port, secure_port or unix_socket"),
     ""},
    {ONE("{uuid: u, secure_port: 1}"), LINE1("", "needs hypervisor_ip, hypervisor or unix_socket"),
     ""},
    {ONE("{uuid: a/b, hypervisor: 'h h', secure_port: 0}"),
     LINE1(".uuid", "must not contain a slash nor be . or ..")
         LINE1(".hypervisor", "h h is neither a host name nor an IP address")
             LINE1(".secure_port", "must be a port number from 1 to 65535, not 0"),
     ""},
    {ONE("{uuid: u, hypervisor_ip: 10.0.0.300, insecure_port: x}"),
     LINE1(".hypervisor_ip", "10.0.0.300 is not an IPv4 address")
         LINE1(".insecure_port", "must be a port number from 1 to 65535, not x"),
     ""},
    {ONE("{uuid: u, unix_socket: /s, ticket: [a]}"),
     LINE1(".ticket", "must be a text, {file: PATH} or {env: NAME}, not a list"), ""},
    {ONE("{uuid: u, unix_socket: /s, ticket: {path: a}}"),
     LINE1(".ticket", "must be a text, {file: PATH} or {env: NAME}"), ""},
    {ONE("{uuid: u, unix_socket: /s, ticket: {file: a, env: b}}"),
     LINE1(".ticket", "must be a text, {file: PATH} or {env: NAME}"), ""},
    {ONE("{uuid: u, unix_socket: /s, ticket: {file: }}"),
     LINE1(".ticket", "must be a text, {file: PATH} or {env: NAME}"), ""},
    {ONE("{uuid: u, unix_socket: /s, ticket: "
         "012345678901234567890123456789012345678901234567890123456789}"),
     LINE1(".ticket", "must be at most 59 bytes long"), ""},
    {ONE("{uuid: u, unix_socket: /s, ticket: \"a\\nb\"}"), LINE1(".ticket", "must be one line"),
     ""},
    {BAD("ca_cert: nothing.pem, consoles: []"),
     LINE(".ca_cert", "@/nothing.pem: No such file or directory"), ""},
    {BAD("ca_cert: kerbside.yaml, consoles: []"),
     LINE(".ca_cert", "@/kerbside.yaml: there is no certificate in it"), ""},
    {BAD("ca_cert: \"a\\nb\", consoles: []"),
     LINE(".ca_cert", "@/a?b: it is neither PEM nor a path"), ""},
};

static void test_bad_source(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof bad_cases / sizeof bad_cases[0]; i++) {
        struct kb_config *c = load(f, bad_cases[i].text);
        assert_problems(f, bad_cases[i].problems);
        assert_non_null(c);
        assert_int_equal(c->bad_sources, 1);
        assert_int_equal(c->source_count, 2);
        assert_string_equal(c->sources[0].name, "bad");
        assert_non_null(c->sources[0].error);
        if (*bad_cases[i].error)
            assert_string_equal(c->sources[0].error, bad_cases[i].error);
        assert_int_equal(c->sources[0].console_count, 0);
        assert_string_equal(c->sources[1].name, "good");
        assert_null(c->sources[1].error);
        assert_int_equal(c->sources[1].console_count, 1);
        kb_config_destroy(c);
    }
}

/* What is bad about the words of another room is that room's to say. */
static void test_bad_pin(void **state)
{
    struct fixture *f = *state;
    struct kb_config *c = load(f, ONE("{uuid: u, unix_socket: /s, host_subject: 'XY=1'}"));
    assert_non_null(c);
    assert_int_equal(c->bad_sources, 1);
    kb_auto_free char *problems = kb_buf_steal(&f->problems);
    kb_auto_free char *begin =
        expand(f, "@/kerbside.yaml:2: sources[0].consoles[0].host_subject: "
                  "source bad is not loaded: is not a certificate subject: ");
    assert_memory_equal(problems, begin, strlen(begin));
    kb_config_destroy(c);
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    struct kb_config *c = load(f, "sources:\n" GOOD GOOD "  - {type: static, consoles: []}\n"
                                  "  - {source: ../x, type: static, consoles: []}\n"
                                  "  - {source: t, type: statik, consoles: []}\n"
                                  "  - {source: u, consoles: []}\n");
    assert_problems(f, "@/kerbside.yaml:3: sources[1]: source good is not loaded: another source "
                       "above has this name\n"
                       "@/kerbside.yaml:4: sources[2].source: source without a name is not loaded: "
                       "is required\n"
                       "@/kerbside.yaml:5: sources[3].source: source ../x is not loaded: must not "
                       "contain a slash nor be . or ..\n"
                       "@/kerbside.yaml:6: sources[4].type: source t is not loaded: no source has "
                       "the type statik\n"
                       "@/kerbside.yaml:7: sources[5].type: source u is not loaded: is required\n");
    assert_non_null(c);
    assert_int_equal(c->bad_sources, 5);
    assert_int_equal(c->source_count, 3);
    assert_string_equal(c->sources[0].name, "good");
    assert_null(c->sources[0].error);
    assert_string_equal(c->sources[1].name, "t");
    assert_string_equal(c->sources[2].name, "u");
    kb_config_destroy(c);
}

/* The type is known wherever it was written. */
static void test_merged_type(void **state)
{
    struct fixture *f = *state;
    struct kb_config *c = load(f, "policies: {}\n"
                                  "sources:\n"
                                  "- &a {source: a, type: static, consoles: []}\n"
                                  "- &b {source: b, type: http, url: 'https://x/'}\n"
                                  "- {source: c, <<: [*b]}\n"
                                  "- {source: d, <<: {<<: [*a]}}\n");
    assert_problems(f, "");
    assert_non_null(c);
    assert_int_equal(c->source_count, 4);
    assert_string_equal(c->sources[2].type, "http");
    assert_string_equal(kb_setting_text(&c->sources[2], "url"), "https://x");
    assert_string_equal(c->sources[3].name, "d");
    assert_string_equal(c->sources[3].type, "static");
    kb_config_destroy(c);
}

/* An error elsewhere still refuses it all. */
static void test_bad_source_and_more(void **state)
{
    struct fixture *f = *state;
    assert_null(load(f, ONE("{}") "drain: x\n"));
    assert_problems(f, LINE1(".uuid", "is required") "@/kerbside.yaml:4: drain: must be a duration "
                                                     "such as 500ms, 60s, 5m or 2h, "
                                                     "not x\n");
}

static void test_warnings(void **state)
{
    struct fixture *f = *state;
    struct kb_config *c = load(f, "sources:\n"
                                  "- source: lab\n"
                                  "  type: static\n"
                                  "  consoles:\n"
                                  "  - {uuid: a, hypervisor: h1, insecure_port: 1}\n"
                                  "  - {uuid: b, hypervisor: h2, secure_port: 2}\n"
                                  "  - {uuid: a, hypervisor: h3, insecure_port: 3}\n"
                                  "  - {uuid: c, unix_socket: /c}\n"
                                  "  tls: require\n"
                                  "- source: old\n"
                                  "  tls: plain\n"
                                  "  type: static\n"
                                  "  consoles:\n"
                                  "  - {uuid: b, hypervisor: h2, secure_port: 2}\n");
    assert_problems(f,
                    "@/kerbside.yaml:7: warning: sources[0].consoles[2]: uuid a is there twice, "
                    "first on line 5; the last one counts\n"
                    "@/kerbside.yaml:7: warning: sources[0].consoles[2]: cannot be opened: it has "
                    "no secure_port, and the source's tls is require\n"
                    "@/kerbside.yaml:14: warning: sources[1].consoles[0]: cannot be opened: it has "
                    "no insecure_port, and the source's tls is plain\n");
    assert_non_null(c);
    assert_int_equal(c->warnings, 3);
    assert_int_equal(c->sources[0].console_count, 3);
    assert_string_equal(c->sources[0].consoles[0].uuid, "a");
    assert_string_equal(c->sources[0].consoles[0].hypervisor, "h3");
    assert_string_equal(c->sources[0].consoles[1].uuid, "b");
    kb_config_destroy(c);
}

/* --- secrets and certificates ----------------------------------------------------------------- */

static char *ticket_by(struct fixture *f, const char *how)
{
    kb_auto_free char *text =
        kb_printf("sources: [{source: bad, type: static, consoles: [{uuid: u, "
                  "unix_socket: /s, ticket: %s}]}]\n",
                  how);
    struct kb_config *c = load(f, text);
    assert_non_null(c);
    char *ticket =
        c->sources[0].error ? NULL : kb_strdup(kb_secret_text(&c->sources[0].consoles[0].ticket));
    kb_config_destroy(c);
    return ticket;
}

static void assert_ticket(struct fixture *f, const char *how, const char *expected)
{
    kb_auto_free char *ticket = ticket_by(f, how);
    assert_problems(f, "");
    assert_string_equal(ticket, expected);
}

static void assert_no_ticket(struct fixture *f, const char *how, const char *why)
{
    assert_null(ticket_by(f, how));
    kb_auto_free char *line =
        kb_printf("@/kerbside.yaml:1: sources[0].consoles[0].ticket: source bad "
                  "is not loaded: %s\n",
                  why);
    assert_problems(f, line);
}

static void test_secrets(void **state)
{
    struct fixture *f = *state;
    free(put(f, "one", "by file\n"));
    free(put(f, "crlf", "by file\r\n"));
    free(put(f, "two", "a\nb\n"));
    free(put(f, "blank", "\n"));
    setenv("KERBSIDE_TEST_TICKET", "by env", 1);
    setenv("KERBSIDE_TEST_BLANK", "", 1);
    unsetenv("KERBSIDE_TEST_NONE");
    assert_ticket(f, "plain", "plain");
    assert_ticket(f, "{file: one}", "by file");
    assert_ticket(f, "{file: crlf}", "by file");
    assert_ticket(f, "{file: '@/one'}", "by file");
    assert_ticket(f, "{env: KERBSIDE_TEST_TICKET}", "by env");
    assert_no_ticket(f, "{file: none}", "cannot use file @/none: No such file or directory");
    assert_no_ticket(f, "{file: '@'}", "cannot use file @: it is not a regular file");
    assert_no_ticket(f, "{file: /dev/zero}", "cannot use file /dev/zero: it is not a regular file");
    assert_no_ticket(f, "{file: blank}", "cannot use file @/blank: it is empty");
    assert_no_ticket(f, "{file: two}", "must be one line");
    assert_no_ticket(f, "{env: KERBSIDE_TEST_NONE}",
                     "the environment variable KERBSIDE_TEST_NONE is not set");
    assert_no_ticket(f, "{env: KERBSIDE_TEST_BLANK}",
                     "the environment variable KERBSIDE_TEST_BLANK is not set");

    kb_auto_free char *large = kb_zalloc(5000);
    memset(large, 'x', 4999);
    free(put(f, "large", large));
    assert_no_ticket(f, "{file: large}", "cannot use file @/large: it is too large");

    /* A fifo without a writer must not hold the daemon. */
    kb_auto_free char *fifo = put(f, "fifo", NULL);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_no_ticket(f, "{file: fifo}", "cannot use file @/fifo: it is not a regular file");
}

/* A value that is a secret never shows in what is said about it. */
static void test_secrets_stay_unsaid(void **state)
{
    struct fixture *f = *state;
    assert_null(ticket_by(f, "\"hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2"
                             "hunter2hunter2\""));
    kb_auto_free char *problems = kb_buf_steal(&f->problems);
    assert_null(strstr(problems, "hunter2"));
}

static void test_ca(void **state)
{
    struct fixture *f = *state;
    kb_auto_free char *cert = NULL, *key = NULL, *old = NULL, *old_key = NULL;
    make_certificate("ca", 3000, &cert, &key);
    make_certificate("old", -1, &old, &old_key);
    kb_auto_free char *both = kb_printf("first\n%ssecond\n%s", cert, old);
    free(put(f, "ca.pem", cert));
    free(put(f, "both.pem", both));

    struct kb_config *c =
        load(f, "sources: [{source: bad, type: static, ca_cert: ca.pem, consoles: []}]\n");
    assert_problems(f, "");
    assert_string_equal(c->sources[0].ca_cert, cert);
    kb_config_destroy(c);
    c = load(f, "sources: [{source: bad, type: static, ca_cert: both.pem, consoles: []}]\n");
    assert_problems(f,
                    "@/kerbside.yaml:1: warning: sources[0].ca_cert: @/both.pem: a certificate has "
                    "expired\n");
    assert_string_equal(c->sources[0].ca_cert, both);
    kb_config_destroy(c);

    /* Inline, as everybody writes it. */
    kb_auto(kb_buf_finish) struct kb_buf b = {0};
    kb_buf_add_str(&b,
                   "sources:\n- source: lab\n  type: static\n  consoles: []\n  ca_cert: |\n    ");
    for (const char *p = cert; *p; p++) {
        kb_buf_add(&b, p, 1);
        if (*p == '\n' && p[1])
            kb_buf_add_str(&b, "    ");
    }
    kb_auto_free char *text = kb_buf_steal(&b);
    c = load(f, text);
    assert_problems(f, "");
    assert_string_equal(c->sources[0].ca_cert, cert);
    kb_config_destroy(c);

    /* The same with one letter gone. */
    char *letter = strchr(strstr(text, "CERTIFICATE-----\n"), '\n') + 10;
    *letter = *letter == 'A' ? 'B' : 'A';
    letter[1] = '!';
    c = load(f, text);
    assert_non_null(c);
    assert_int_equal(c->bad_sources, 1);
    kb_auto_free char *problems = kb_buf_steal(&f->problems);
    assert_non_null(strstr(problems,
                           "kerbside.yaml:5: sources[0].ca_cert: source lab is not loaded: "
                           "certificate 1 is damaged: "));
    kb_config_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_console, setup, teardown),
        cmocka_unit_test_setup_teardown(test_upstream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_driver_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_of_sources, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_source, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_pin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merged_type, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_source_and_more, setup, teardown),
        cmocka_unit_test_setup_teardown(test_warnings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secrets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secrets_stay_unsaid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ca, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
