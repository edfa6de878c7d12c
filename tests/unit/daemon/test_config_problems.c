/* What is wrong with a configuration: a table of texts and the exact problems that they give. */
#include "fixture.h"

#define CONSOLE "{uuid: u, hypervisor: h, insecure_port: 5900}"
/* One line of sources, so that the lines above keep their numbers. */
#define SOURCES "sources: [{source: lab, type: static, consoles: [" CONSOLE "]}]\n"

struct problem_case {
    const char *name, *text, *problems;
    bool loads;
};

static const struct problem_case cases[] = {
    /* nothing, and what is not YAML */
    {"empty file", "", "@/kerbside.yaml: sources: is required\n", false},
    {"empty document", "# nothing\n", "@/kerbside.yaml: sources: is required\n", false},
    {"a list", "- a\n",
     "@/kerbside.yaml:1: must be a mapping of keys, not a list\n"
     "@/kerbside.yaml:1: sources: is required\n",
     false},
    {"a text", "\nhello\n",
     "@/kerbside.yaml:2: must be a mapping of keys, not a text\n"
     "@/kerbside.yaml:2: sources: is required\n",
     false},
    {"sources empty", "drain: 1s\nsources:\n",
     "@/kerbside.yaml:2: sources: is required, but empty\n", false},
    {"no source", "sources: []\n",
     "@/kerbside.yaml:1: warning: sources: no source is configured, so there is no console to "
     "open\n",
     true},
    {"broken flow", SOURCES "listen: [\n",
     "@/kerbside.yaml:3: not valid YAML: did not find expected node content\n", false},
    {"broken indent", SOURCES "log:\n  level: info\n format: text\n",
     "@/kerbside.yaml:4: not valid YAML: did not find expected key (while parsing a block mapping "
     "that begins on line 1)\n",
     false},
    {"tab indent", SOURCES "log:\n\tlevel: info\n",
     "@/kerbside.yaml:3: not valid YAML: found character that cannot start any token\n", false},
    {"no such alias", SOURCES "drain: *nobody\n",
     "@/kerbside.yaml:2: not valid YAML: found undefined alias\n", false},
    {"two documents", SOURCES "---\n" SOURCES,
     "@/kerbside.yaml:2: a second document begins here; only one is read\n", false},
    {"tag", SOURCES "drain: !vault 3\n", "@/kerbside.yaml:2: tags are not supported\n", false},
    {"python tag", SOURCES "drain: !!python/none x\n",
     "@/kerbside.yaml:2: tags are not supported\n", false},
    {"harmless tag", SOURCES "drain: !!str 3s\n", "", true},
    {"latin-1", SOURCES "\nnode: {name: b\xfcro}\n", "@/kerbside.yaml:3: the file is not UTF-8\n",
     false},
    {"overlong UTF-8", SOURCES "node: {name: \xc0\xaf}\n",
     "@/kerbside.yaml:2: the file is not UTF-8\n", false},
    {"UTF-16",
     "\xff\xfe"
     "s\n",
     "@/kerbside.yaml:1: the file is not UTF-8\n", false},
    {"control character", SOURCES "node: {name: a\x1b[2J}\n",
     "@/kerbside.yaml:2: there is a control character here\n", false},
    {"byte order mark", "\xef\xbb\xbf" SOURCES, "", true},
    {"carriage returns", "drain: 2s\r\n" SOURCES, "", true},
    {"too deep",
     "drain: "
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
     "@/kerbside.yaml:1: lists and mappings are nested too deeply here\n", false},

    /* keys */
    {"unknown", SOURCES "xyzzy: 1\n", "@/kerbside.yaml:2: xyzzy: unknown key\n", false},
    {"nearly", SOURCES "lissten: []\n",
     "@/kerbside.yaml:2: lissten: unknown key; did you mean listen?\n", false},
    {"swapped", SOURCES "drian: 1s\n",
     "@/kerbside.yaml:2: drian: unknown key; did you mean drain?\n", false},
    {"nearly, in a section", SOURCES "grants:\n  reusabel: true\n",
     "@/kerbside.yaml:3: grants.reusabel: unknown key; did you mean reusable?\n", false},
    {"in the wrong place", SOURCES "start_within: 3s\n",
     "@/kerbside.yaml:2: start_within: unknown key; did you mean grants.start_within?\n", false},
    {"below a value", SOURCES "drain: {after: 3s}\n",
     "@/kerbside.yaml:2: drain: must be a duration, not a mapping\n", false},
    {"dots in a key", SOURCES "grants.reusable: true\n",
     "@/kerbside.yaml:2: grants.reusable: unknown key\n", false},
    {"control characters in a key", SOURCES "\"a\\e[2Jb\\u0085\": 1\n",
     "@/kerbside.yaml:2: a?[2Jb??: unknown key\n", false},
    {"twice", "drain: 3s\n" SOURCES "drain: 4s\n",
     "@/kerbside.yaml:3: drain: the key is there twice; first on line 1\n", false},
    {"twice, a section", "log: {level: info}\n" SOURCES "log: {format: text}\n",
     "@/kerbside.yaml:3: log: the key is there twice; first on line 1\n", false},
    {"section as text", SOURCES "log: debug\n",
     "@/kerbside.yaml:2: log: must be a mapping of keys, not a text\n", false},
    {"section as list", SOURCES "log: [debug]\n",
     "@/kerbside.yaml:2: log: must be a mapping of keys, not a list\n", false},
    {"empty section", SOURCES "log:\ntls: {certificate: , key: , ca: }\n", "", true},
    {"list as a key", SOURCES "? [a]\n: b\n", "@/kerbside.yaml:2: a key must be a plain word\n",
     false},
    {"all of them", "drain: 5\nlog: {level: loud}\ngrants: {reusable: maybe}\nfoo: 1\n" SOURCES,
     "@/kerbside.yaml:1: drain: must be a duration such as 500ms, 60s, 5m or 2h, not 5\n"
     "@/kerbside.yaml:2: log.level: must be error, warning, info or debug, not loud\n"
     "@/kerbside.yaml:3: grants.reusable: must be true or false, not maybe\n"
     "@/kerbside.yaml:4: foo: unknown key\n",
     false},

    /* values */
    {"duration bounds",
     SOURCES "grants: {start_within: 0, exchange_within: 25h}\ntimeouts: {connect: 99ms}\n",
     "@/kerbside.yaml:2: grants.start_within: must be from 1s to 1d, not 0\n"
     "@/kerbside.yaml:2: grants.exchange_within: must be from 1s to 1d, not 25h\n"
     "@/kerbside.yaml:3: timeouts.connect: must be from 100ms to 5m, not 99ms\n",
     false},
    {"duration unit", SOURCES "drain: 3w\n",
     "@/kerbside.yaml:2: drain: must be a duration such as 500ms, 60s, 5m or 2h, not 3w\n", false},
    {"number bounds", SOURCES "node: {loops: 257}\nlimits: {connections: 0}\n",
     "@/kerbside.yaml:2: node.loops: must be a whole number from 0 to 256, not 257\n"
     "@/kerbside.yaml:3: limits.connections: must be a whole number from 1 to 1000000, not 0\n",
     false},
    {"numbers", SOURCES "node: {loops: -1}\nlimits: {connections: 99999999999999999999999}\n",
     "@/kerbside.yaml:2: node.loops: must be a whole number from 0 to 256, not -1\n"
     "@/kerbside.yaml:3: limits.connections: must be a whole number from 1 to 1000000, not "
     "99999999999999999999999\n",
     false},
    {"port", SOURCES "public: {spice_port: 0, plain_port: 65536}\n",
     "@/kerbside.yaml:2: public.spice_port: must be a port number from 1 to 65535, not 0\n"
     "@/kerbside.yaml:2: public.plain_port: must be a port number from 0 to 65535, not 65536\n",
     false},
    {"text as list", SOURCES "state_dir: [a]\n",
     "@/kerbside.yaml:2: state_dir: must be a text, not a list\n", false},
    {"NUL", SOURCES "node: {name: \"a\\0b\"}\n",
     "@/kerbside.yaml:2: node.name: must not contain a NUL character\n", false},
    {"two lines", SOURCES "node: {name: \"a\\nb\"}\n",
     "@/kerbside.yaml:2: node.name: must be one line without control characters\n", false},
    {"too long",
     SOURCES "node: {name: 0123456789012345678901234567890123456789012345678901234567890123}\n",
     "@/kerbside.yaml:2: node.name: must be at most 63 bytes long\n", false},
    {"url", SOURCES "public: {url: desktops.example.org}\n",
     "@/kerbside.yaml:2: public.url: must be a URL such as https://desktops.example.org:8443\n",
     false},
    {"url without a host", SOURCES "public: {url: 'https://'}\n",
     "@/kerbside.yaml:2: public.url: must be a URL such as https://desktops.example.org:8443\n",
     false},
    {"public host", SOURCES "public: {host: 'https://x'}\n",
     "@/kerbside.yaml:2: public.host: https://x is not an IPv6 address\n", false},
    {"store", SOURCES "store: {url: 'mysql://u:secret@h/db'}\n",
     "@/kerbside.yaml:2: store.url: must be sqlite:PATH\n", false},
    {"store without a path", SOURCES "store: {url: 'sqlite:'}\n",
     "@/kerbside.yaml:2: store.url: must be sqlite:PATH\n", false},
    {"PostgreSQL", SOURCES "store: {url: 'postgresql://u:secret@h/db'}\n",
     "@/kerbside.yaml:2: store.url: PostgreSQL is not supported by this version\n", false},

    {"lists and mappings where a word is wanted",
     SOURCES
     "public: {spice_port: [], url: [], host: []}\ngrants: {reusable: [], max_session: {a: b}}\n"
     "log: {level: []}\nmetrics: {address: []}\nstore: {url: {}}\ntls: {certificate: [], key: "
     "[]}\n",
     "@/kerbside.yaml:2: public.spice_port: must be a port number, not a list\n"
     "@/kerbside.yaml:2: public.url: must be a text, not a list\n"
     "@/kerbside.yaml:2: public.host: must be a host name or an address, not a list\n"
     "@/kerbside.yaml:3: grants.reusable: must be true or false, not a list\n"
     "@/kerbside.yaml:3: grants.max_session: must be a duration, not a mapping\n"
     "@/kerbside.yaml:4: log.level: must be a word, not a list\n"
     "@/kerbside.yaml:5: metrics.address: must be an address or off, not a list\n"
     "@/kerbside.yaml:6: store.url: must be a text, not a mapping\n"
     "@/kerbside.yaml:7: tls.certificate: must be one path or a list of two\n"
     "@/kerbside.yaml:7: tls.key: must be one path or a list of two\n",
     false},
    {"merge keys in merge keys",
     "log: &a {<<: &b {<<: &c {<<: &d {<<: &e {<<: {level: info}}}}}}\n" SOURCES,
     "@/kerbside.yaml:1: log: merge keys (<<) are nested too deeply\n", false},
    {"merge of a text", "log: {<<: common}\n" SOURCES,
     "@/kerbside.yaml:1: log: must be a list, not a text\n", false},

    /* addresses */
    {"no port", SOURCES "listen: [{address: 0.0.0.0}]\n",
     "@/kerbside.yaml:2: listen[0].address: 0.0.0.0 needs a port, as in 0.0.0.0:8443\n", false},
    {"no brackets", SOURCES "listen: [{address: '::1:8443'}]\n",
     "@/kerbside.yaml:2: listen[0].address: ::1:8443 needs brackets around its IPv6 address, as in "
     "[::]:8443\n",
     false},
    {"brackets", SOURCES "listen: [{address: '[::1]8443'}]\n",
     "@/kerbside.yaml:2: listen[0].address: [::1]8443 must be [IPV6]:PORT\n", false},
    {"brackets around a name", SOURCES "listen: [{address: '[localhost]:8443'}]\n",
     "@/kerbside.yaml:2: listen[0].address: [localhost]:8443 has something else than an IPv6 "
     "address "
     "in brackets\n",
     false},
    {"bad IPv6", SOURCES "listen: [{address: '[::g]:8443'}]\n",
     "@/kerbside.yaml:2: listen[0].address: [::g]:8443 is not an IPv6 address\n", false},
    {"bad IPv4", SOURCES "listen: [{address: '10.0.0.300:8443'}]\n",
     "@/kerbside.yaml:2: listen[0].address: 10.0.0.300:8443 is not an IPv4 address\n", false},
    {"bad name", SOURCES "listen: [{address: 'a b:8443'}]\n",
     "@/kerbside.yaml:2: listen[0].address: a b:8443 is neither a host name nor an IP address\n",
     false},
    {"bad port", SOURCES "listen: [{address: ':65536'}, {address: ':ssh'}, {address: ':'}]\n",
     "@/kerbside.yaml:2: listen[0].address: :65536 needs a port number from 0 to 65535 after the "
     "colon\n"
     "@/kerbside.yaml:2: listen[1].address: :ssh needs a port number from 0 to 65535 after the "
     "colon\n"
     "@/kerbside.yaml:2: listen[2].address: : needs a port number from 0 to 65535 after the "
     "colon\n",
     false},
    {"metrics on all addresses", SOURCES "metrics: {address: '*:0'}\n", "", true},
    {"host too long",
     SOURCES "public: {host: "
             "a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789"
             "a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789"
             "a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789"
             "a123456789a123}\n",
     "@/kerbside.yaml:2: public.host: "
     "a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789"
     "a123456789 is too long for a host name\n",
     false},
    {"metrics", SOURCES "metrics: {address: none}\n",
     "@/kerbside.yaml:2: metrics.address: none needs a port, as in 0.0.0.0:8443\n", false},

    /* listen */
    {"no listener", SOURCES "listen: []\n",
     "@/kerbside.yaml:2: listen: must have one entry at least\n", false},
    {"listen is no list", SOURCES "listen: {address: ':1'}\n",
     "@/kerbside.yaml:2: listen: must be a list, not a mapping\n", false},
    {"listen without address", SOURCES "listen:\n  - accept: [spice]\n",
     "@/kerbside.yaml:3: listen[0].address: is required\n", false},
    {"listener twice", SOURCES "listen:\n- address: '*:1'\n- address: ':1'\n- address: '[::]:1'\n",
     "@/kerbside.yaml:4: listen[1]: :1 is there twice\n", false},
    {"accept", SOURCES "listen: [{address: ':1', accept: [spice, htp, vnc, {}]}]\n",
     "@/kerbside.yaml:2: listen[0].accept: must be of spice, http and redirect, not htp\n"
     "@/kerbside.yaml:2: listen[0].accept: vnc is not supported by this version\n"
     "@/kerbside.yaml:2: listen[0].accept: must be a word, not a mapping\n",
     false},
    {"accept nothing", SOURCES "listen: [{address: ':1', accept: []}]\n",
     "@/kerbside.yaml:2: listen[0].accept: must name something to accept\n", false},
    {"nobody accepts spice", "listen: [{address: ':1', accept: [http]}]\n" SOURCES,
     "@/kerbside.yaml:1: public.spice_port: is required, because no listener accepts spice\n",
     false},

    /* what is not built yet */
    /* policies */
    {"default, empty", SOURCES "policies: {default: {}}\n", "", true},
    {"default, nothing", SOURCES "policies: {default: }\n", "", true},
    {"no policies", SOURCES "policies:\n", "", true},
    {"policies, a list", SOURCES "policies: [a]\n",
     "@/kerbside.yaml:2: policies: must be a mapping of names to policies\n", false},
    {"policies, names",
     SOURCES "policies:\n  a b: {}\n  x: {}\n  x: {}\n  default: {}\n  default: {}\n  [a]: {}\n",
     "@/kerbside.yaml:3: policies.a b: a policy's name has 1 to 63 letters, digits, ., _ or -\n"
     "@/kerbside.yaml:5: policies.x: the policy is there twice\n"
     "@/kerbside.yaml:7: policies.default: the policy is there twice\n"
     "@/kerbside.yaml:8: policies: must be the name of a policy, not a list\n",
     false},
    {"policies, unknown keys",
     SOURCES "policies:\n  x:\n    clipbord: {in: true}\n    clipboard: {inn: true, out: maybe}\n"
             "    y: 1\n",
     "@/kerbside.yaml:4: policies.x.clipbord: unknown key; did you mean clipboard?\n"
     "@/kerbside.yaml:5: policies.x.clipboard.inn: unknown key; did you mean in?\n"
     "@/kerbside.yaml:5: policies.x.clipboard.out: must be true or false, not maybe\n"
     "@/kerbside.yaml:6: policies.x.y: unknown key\n",
     false},
    {"policies, values",
     SOURCES "policies:\n  x:\n    mode: trial\n    folders: some\n    screens: 17\n"
             "    clipboard: {max_bytes: 10Mbit}\n    bandwidth: fast\n    usb: {filter: '1,2'}\n"
             "    files: {names: ['']}\n    idle_timeout: 5\n",
     "@/kerbside.yaml:4: policies.x.mode: must be enforce or observe, not trial\n"
     "@/kerbside.yaml:5: policies.x.folders: must be off, read_only or on, not some\n"
     "@/kerbside.yaml:6: policies.x.screens: must be a whole number from 0 to 16, not 17\n"
     "@/kerbside.yaml:7: policies.x.clipboard.max_bytes: must be an amount of bytes such as 4096, "
     "64KiB or 10MB, not 10Mbit\n"
     "@/kerbside.yaml:8: policies.x.bandwidth: must be bytes a second such as 500kB, 2MiB or "
     "10Mbit, not fast\n"
     "@/kerbside.yaml:9: policies.x.usb.filter: is not a filter of USB devices: a rule's second "
     "number is a vendor, 0 to 0xffff or -1\n"
     "@/kerbside.yaml:10: policies.x.files.names: a pattern has 1 to 255 bytes\n"
     "@/kerbside.yaml:11: policies.x.idle_timeout: must be a duration such as 500ms, 60s, 5m or "
     "2h, not 5\n",
     false},
    {"policies, hours",
     SOURCES "policies:\n  x: {hours: {open: [mon 8-9, mon 08:00-09:00], zone: ../passwd}}\n"
             "  y: {hours: {zone: UTC}}\n  z: {hours: {open: mon 08:00-09:00, zone: Atlan/tis}}\n",
     "@/kerbside.yaml:3: policies.x.hours.open: \"mon 8-9\" must be like mon-fri 08:00-18:00\n"
     "@/kerbside.yaml:3: policies.x.hours.zone: is no time zone such as Europe/Berlin in "
     "/usr/share/zoneinfo: ../passwd: there is none of that name\n"
     "@/kerbside.yaml:4: policies.y: hours.zone says nothing without hours.open\n"
     "@/kerbside.yaml:5: policies.z.hours.zone: is no time zone such as Europe/Berlin in "
     "/usr/share/zoneinfo: Atlan/tis: No such file or directory\n",
     false},
    /* A source with a wrong policy would carry more than is meant: nothing is loaded. */
    {"policy of a source, unknown",
     "policies: {a: {}}\nsources:\n- {source: lab, type: static, policy: b, consoles: [" CONSOLE
     "]}\n",
     "@/kerbside.yaml:3: sources[0].policy: policies has no b\n", false},
    {"policies of a source, wrong",
     "policies: {a: {}}\nsources:\n- {source: lab, type: static, consoles: [],\n"
     "   policies: [{policy: b, consoles: x}, {policy: a}, {policy: a, console: x}]}\n",
     "@/kerbside.yaml:4: sources[0].policies[0].policy: policies has no b\n"
     "@/kerbside.yaml:4: sources[0].policies[1].consoles: is required\n"
     "@/kerbside.yaml:4: sources[0].policies[2].console: unknown key; did you mean consoles?\n"
     "@/kerbside.yaml:4: sources[0].policies[2].consoles: is required\n",
     false},
    {"policy of a console, unknown",
     "sources:\n- source: lab\n  type: static\n"
     "  consoles: [{uuid: u, hypervisor: h, insecure_port: 5900, policy: b}]\n",
     "@/kerbside.yaml:4: sources[0].consoles[0].policy: policies has no b\n", false},
    {"policy of a role, unknown",
     SOURCES "identity:\n  roles: [{role: user, users: a, policy: b}]\n"
             "  groups: [{groups: g, policy: b}, {groups: g}]\n",
     "@/kerbside.yaml:3: identity.roles[0].policy: policies has no b\n"
     "@/kerbside.yaml:4: identity.groups[0].policy: policies has no b\n"
     "@/kerbside.yaml:4: identity.groups[1].policy: is required\n",
     false},

    /* identity */
    {"roles, nobody", SOURCES "identity:\n  roles: [{role: user}]\n",
     "@/kerbside.yaml:3: identity.roles[0]: names nobody: it needs users, groups or keys\n", false},
    {"roles, misspelt",
     SOURCES "identity:\n  roles:\n  - {role: king, users: a}\n"
             "  - {rol: user, users: a}\n  - {role: user, users: []}\n"
             "  - {role: user, groups: [{}, '']}\n  - admin\n",
     "@/kerbside.yaml:4: identity.roles[0].role: must be user, broker, auditor, operator, admin or "
     "agent, "
     "not king\n"
     "@/kerbside.yaml:5: identity.roles[1].rol: unknown key; did you mean role?\n"
     "@/kerbside.yaml:5: identity.roles[1].role: is required\n"
     "@/kerbside.yaml:6: identity.roles[2].users: must have 1 to 1000 entries; leave the key out "
     "for none\n"
     "@/kerbside.yaml:6: identity.roles[2]: names nobody: it needs users, groups or keys\n"
     "@/kerbside.yaml:7: identity.roles[3].groups: must be a text, not a mapping\n"
     "@/kerbside.yaml:7: identity.roles[3].groups: must be a line of 1 to 512 bytes\n"
     "@/kerbside.yaml:8: identity.roles[4]: must be a mapping of keys, not a text\n"
     "@/kerbside.yaml:8: identity.roles[4].role: is required\n",
     false},
    {"roles, no such source",
     SOURCES "identity:\n  roles: [{role: user, users: a, sources: [mars]}]\n",
     "@/kerbside.yaml:3: warning: identity.roles[0].sources: there is no source mars\n", true},
    {"keystone, half", SOURCES "identity:\n  keystone: {access_group: a}\n",
     "@/kerbside.yaml:3: identity.keystone.url: is required in this section\n", false},
    {"keystone, in clear", SOURCES "identity:\n  keystone: {url: 'http://keystone:5000/'}\n",
     "@/kerbside.yaml:3: warning: identity.keystone.url: passwords travel in clear: use https\n",
     true},
    {"keystone, no url", SOURCES "identity:\n  keystone: {url: 'keystone:5000'}\n",
     "@/kerbside.yaml:3: identity.keystone.url: must be a URL such as https://login.example.org\n",
     false},
    {"oidc, half", SOURCES "identity:\n  oidc: {client_id: a}\n",
     "@/kerbside.yaml:3: identity.oidc.issuer: is required in this section\n", false},
    {"oidc, no client", SOURCES "identity:\n  oidc: {issuer: 'https://login.example.org'}\n",
     "@/kerbside.yaml:3: identity.oidc.client_id: is required in this section\n", false},
    {"oidc, in clear", SOURCES "identity:\n  oidc: {issuer: 'http://x', client_id: a}\n",
     "@/kerbside.yaml:3: identity.oidc.issuer: must be a URL such as https://login.example.org\n",
     false},
    {"later, unknown", SOURCES "identity: {keystone: {ulr: u}, ldap: {}}\n",
     "@/kerbside.yaml:2: identity.keystone.ulr: unknown key; did you mean url?\n"
     "@/kerbside.yaml:2: identity.ldap: unknown key\n",
     false},
};

static void test_problems(void **state)
{
    struct fixture *f = *state;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kb_config *c = load(f, cases[i].text);
        kb_auto_free char *expected = expand(f, cases[i].problems);
        kb_auto_free char *found = kb_buf_steal(&f->problems);
        if (strcmp(found, expected) != 0 || (c != NULL) != cases[i].loads) {
            print_error("%s:\n%s(%s), but expected is\n%s(%s)\n", cases[i].name, found,
                        c ? "taken" : "refused", expected, cases[i].loads ? "taken" : "refused");
            wrong++;
        }
        kb_config_destroy(c);
    }
    assert_int_equal(wrong, 0);
}

static void test_no_file(void **state)
{
    struct fixture *f = *state;
    assert_null(kb_config_load(f->file, &f->problems));
    assert_problems(f, "@/kerbside.yaml: No such file or directory\n");
    kb_buf_finish(&f->problems);
    assert_null(kb_config_load(f->folder, &f->problems));
    assert_problems(f, "@: it is not a regular file\n");
}

/* A hundred are told, the rest is counted. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    kb_auto(kb_buf_finish) struct kb_buf text = {0};
    for (int i = 0; i < 250; i++)
        kb_buf_printf(&text, "unknown_%d: 1\n", i);
    kb_auto_free char *yaml = kb_buf_steal(&text);
    assert_null(load(f, yaml));
    kb_auto_free char *problems = kb_buf_steal(&f->problems);
    assert_non_null(strstr(problems, "kerbside.yaml:100: unknown_99: unknown key\n"));
    assert_null(strstr(problems, "unknown_100:"));
    assert_non_null(strstr(problems, "\n... and 151 more\n"));
}

/* A kilobyte of aliases that would be a billion consoles. */
static void test_alias_bomb(void **state)
{
    struct fixture *f = *state;
    kb_auto(kb_buf_finish) struct kb_buf text = {0};
    kb_buf_add_str(&text, "sources:\n- &s {source: lab, type: static, consoles: &c [&k " CONSOLE);
    for (int i = 0; i < 10000; i++)
        kb_buf_add_str(&text, ",*k");
    kb_buf_add_str(&text, "]}\n");
    for (int i = 0; i < 10000; i++)
        kb_buf_add_str(&text, "- *s\n");
    kb_auto_free char *yaml = kb_buf_steal(&text);
    assert_null(load(f, yaml));
    kb_auto_free char *problems = kb_buf_steal(&f->problems);
    assert_non_null(strstr(problems, ": the file says too much; reading stops here\n"));
}

static void test_alias_cycles(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "&a\n<<: *a\nlog: *a\n" SOURCES,
        "log: &a {<<: [*a, *a, *a, *a]}\n" SOURCES,
        "sources: &a [*a, *a]\n",
        "policies: &a {default: *a}\n" SOURCES,
        "identity: &a {local: *a, roles: [*a]}\n" SOURCES,
        "sources: [&a {source: *a, type: static, consoles: [*a], <<: *a}]\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        kb_config_destroy(load(f, texts[i])); /* it comes back */
        assert_int_not_equal(f->problems.len, 0);
    }
}

/* Whatever is cut off the end, it comes back and leaks nothing. */
static void test_every_cut(void **state)
{
    struct fixture *f = *state;
    static const char text[] =
        "listen:\n- {address: ':1', accept: [spice, http]}\nlog: &l {level: \"info\"}\n"
        "sources:\n- source: lab\n  type: static\n  ca_cert: |\n    -----BEGIN\n  consoles:\n"
        "  - {uuid: \xc3\xa4, hypervisor: h, insecure_port: 1, ticket: {env: HOME}}\n";
    for (size_t n = 0; n < sizeof text; n++) {
        kb_auto(kb_buf_finish) struct kb_buf problems = {0};
        kb_config_destroy(kb_config_parse(f->file, kb_span(text, n), &problems));
        assert_int_not_equal(problems.len, 0); /* the whole has a bad ca_cert */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_problems, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alias_bomb, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alias_cycles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_cut, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
