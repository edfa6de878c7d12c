/* The pin: what can be read, what matches, and that all the rest fails closed. */
#include "base/auto.h"
#include "spice/host_subject.h"

#include <openssl/err.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct entry {
    int nid;
    int type; /* V_ASN1_*, kept as it is */
    const char *value;
    int len; /* 0: strlen */
    bool same_set;
};

#define UTF8 V_ASN1_UTF8STRING
#define PRINTABLE V_ASN1_PRINTABLESTRING
#define C NID_countryName
#define O NID_organizationName
#define OU NID_organizationalUnitName
#define CN NID_commonName

static X509_NAME *subject_of(const struct entry *entries, size_t count)
{
    X509_NAME *name = X509_NAME_new();
    for (size_t i = 0; i < count && entries[i].nid; i++) {
        const struct entry *e = &entries[i];
        ASN1_STRING *s = ASN1_STRING_type_new(e->type);
        X509_NAME_ENTRY *entry = X509_NAME_ENTRY_new();
        assert_int_equal(ASN1_STRING_set(s, e->value, e->len ? e->len : (int)strlen(e->value)), 1);
        assert_int_equal(X509_NAME_ENTRY_set_object(entry, OBJ_nid2obj(e->nid)), 1);
        /* The bytes and the type as they stand in the table, with no conversion. */
        assert_int_equal(X509_NAME_ENTRY_set_data(entry, e->type, ASN1_STRING_get0_data(s),
                                                  ASN1_STRING_length(s)),
                         1);
        assert_int_equal(X509_NAME_add_entry(name, entry, -1, e->same_set ? -1 : 0), 1);
        X509_NAME_ENTRY_free(entry);
        ASN1_STRING_free(s);
    }
    return name;
}

static const struct {
    const char *pin;
    bool fine;
} pins[] = {
    {"CN=a", true},
    {"C=AU,O=Lab,CN=host", true},
    {"C=AU, O=Lab,   CN=host", true},
    {"   CN=host", true},
    {"CN=host,", true},
    {"CN=host,   ", true},
    {"C=AU,ST=b,L=c,O=d,OU=e,CN=f,DC=g,emailAddress=h@i", true},
    {"CN=a\\,b", true},
    {"CN=a\\\\b", true},
    {"CN=a=b", true},
    {"CN= ", true}, /* not empty: a space */
    {"OU=a,OU=a", true},
    {"CN=Z\xc3\xbcrich", true},
    {NULL, false},
    {"", false},
    {"   ", false},
    {",", false},
    {",CN=a", false},
    {"CN=a,,O=b", false},
    {"CN", false},
    {"CN,O=b", false},
    {"CN=", false},
    {"CN=,O=b", false},
    {"=a", false},
    {"cn=a", false},
    {"Cn=a", false},
    {"commonName=a", false},
    {"2.5.4.3=a", false},
    {"serialNumber=1", false},
    {"X=1", false},
    {"CN =a", false},
    {"\tCN=a", false},
    {"CN=a\\", false},
    {"CN=a\\b", false},
    {"CN=a\\=b", false},
    {"C\\N=a", false},
    {"C\\,N=a", false},
    {"CN\\=a", false},
    {"CN=\xff\xfe", false},
    {"CN=a\xc3", false},
    {"CN=\xed\xa0\x80", false}, /* half of a surrogate pair */
    {"C=A", false},             /* a country has two letters */
    {"C=AUS", false},
    {"DC=\xc3\xbc", false}, /* ASCII only */
    {"emailAddress=\xc3\xbc@b", false},
    {"CN=01234567890123456789012345678901234567890123456789012345678901234", false}, /* 65 */
    {"CN=0123456789012345678901234567890123456789012345678901234567890123", true},
};

static void test_check(void **state)
{
    (void)state;
    X509_NAME *empty = X509_NAME_new();
    for (size_t i = 0; i < sizeof pins / sizeof pins[0]; i++) {
        const char *wrong = kb_host_subject_check(pins[i].pin);
        if ((wrong == NULL) != pins[i].fine)
            fail_msg("%s: %s", pins[i].pin, wrong ? wrong : "taken");
        if (wrong) {
            assert_true(strlen(wrong) > 5);
            assert_false(kb_host_subject_matches(pins[i].pin, empty));
        }
    }
    X509_NAME_free(empty);
    /* The reasons are told apart. */
    assert_non_null(strstr(kb_host_subject_check("CN="), "empty"));
    assert_non_null(strstr(kb_host_subject_check(""), "empty"));
    assert_non_null(strstr(kb_host_subject_check("cn=a"), "emailAddress"));
    assert_non_null(strstr(kb_host_subject_check("CN=a\\b"), "backslash"));
    assert_non_null(strstr(kb_host_subject_check("CN"), "key=value"));
    assert_non_null(strstr(kb_host_subject_check("C=AUS"), "too long"));
}

static const struct {
    struct entry entries[8];
    const char *pin;
    bool match;
} matches[] = {
    {{{C, PRINTABLE, "AU"}, {O, UTF8, "Lab"}, {CN, UTF8, "host"}}, "C=AU,O=Lab,CN=host", true},
    {{{C, PRINTABLE, "AU"}, {O, UTF8, "Lab"}, {CN, UTF8, "host"}}, "C=AU, O=Lab, CN=host,", true},
    /* all of them, in order */
    {{{C, PRINTABLE, "AU"}, {O, UTF8, "Lab"}, {CN, UTF8, "host"}}, "CN=host", false},
    {{{C, PRINTABLE, "AU"}, {O, UTF8, "Lab"}, {CN, UTF8, "host"}}, "C=AU,O=Lab", false},
    {{{C, PRINTABLE, "AU"}, {O, UTF8, "Lab"}, {CN, UTF8, "host"}}, "C=AU,CN=host,O=Lab", false},
    {{{C, PRINTABLE, "AU"}, {O, UTF8, "Lab"}, {CN, UTF8, "host"}}, "CN=host,O=Lab,C=AU", false},
    {{{C, PRINTABLE, "AU"}, {O, UTF8, "Lab"}, {CN, UTF8, "host"}},
     "C=AU,O=Lab,CN=host,CN=host",
     false},
    {{{CN, UTF8, "host"}}, "O=host", false},
    {{{CN, UTF8, "host"}}, "OU=host", false},
    {{{CN, UTF8, "host"}}, "CN=hos", false},
    {{{CN, UTF8, "host"}}, "CN=host1", false},
    {{{0}}, "CN=host", false},
    {{{0}}, "", false},
    /* case and white space */
    {{{CN, UTF8, "Host.LAB"}}, "CN=hOST.lab", true},
    {{{O, UTF8, "Red Hat  Inc"}}, "O=red hat inc", true},
    {{{O, UTF8, "Red Hat Inc"}}, "O=  Red \tHat\t Inc ", true},
    {{{O, UTF8, "  Lab "}}, "O=Lab", true},
    {{{O, UTF8, "RedHat"}}, "O=Red Hat", false},
    {{{CN, UTF8, "\xc3\x9c"}}, "CN=\xc3\xbc", false}, /* without case is for ASCII */
    /* escapes */
    {{{O, UTF8, "a,b"}}, "O=a\\,b", true},
    {{{O, UTF8, "a\\b"}}, "O=a\\\\b", true},
    {{{O, UTF8, "a\\,b"}}, "O=a\\\\\\,b", true},
    {{{O, UTF8, "a\\"}, {CN, UTF8, "b"}}, "O=a\\\\,CN=b", true},
    {{{CN, UTF8, "a=b"}}, "CN=a=b", true},
    {{{O, UTF8, "a,CN=b"}}, "O=a,CN=b", false},
    {{{O, UTF8, "a"}, {CN, UTF8, "b"}}, "O=a\\,CN=b", false},
    /* a value that cannot be read matches nothing, also when its pin cannot */
    {{{CN, UTF8, "host"}}, "CN=ho\\st", false},
    {{{CN, UTF8, "host"}}, "cn=host", false},
    /* string types */
    {{{CN, PRINTABLE, "host"}}, "CN=host", true},
    {{{CN, V_ASN1_IA5STRING, "host"}}, "CN=host", true},
    {{{CN, V_ASN1_T61STRING, "Z\xfcrich"}}, "CN=Z\xc3\xbcrich", true},
    {{{CN, UTF8, "Z\xc3\xbcrich"}}, "CN=Z\xc3\xbcrich", true},
    {{{CN, V_ASN1_BMPSTRING, "\0Z\0\xfc\0r", 6}}, "CN=Z\xc3\xbcr", true},
    {{{CN, V_ASN1_BMPSTRING, "\x04\x16", 2}}, "CN=\xd0\x96", true},
    {{{CN, V_ASN1_UNIVERSALSTRING, "\0\1\xf6\0", 4}}, "CN=\xf0\x9f\x98\x80", true},
    {{{CN, V_ASN1_BIT_STRING, "host"}}, "CN=host", false},
    {{{CN, V_ASN1_NUMERICSTRING, "1234"}}, "CN=1234", false}, /* as stock clients have it */
    /* not characters of their type */
    {{{CN, V_ASN1_BMPSTRING, "host", 4}}, "CN=host", false},
    {{{CN, UTF8, "host\xff"}}, "CN=host", false},
    {{{CN, UTF8, "host\xff"}}, "CN=host\xff", false},
    {{{CN, UTF8, "Z\xfcrich"}}, "CN=Z\xc3\xbcrich", false},
    /* an embedded NUL */
    {{{CN, UTF8, "host\0.evil", 10}}, "CN=host", false},
    {{{CN, UTF8, "host\0", 5}}, "CN=host", false},
    {{{CN, UTF8, "\0host", 5}}, "CN=host", false},
    {{{CN, V_ASN1_BMPSTRING, "\0h\0\0", 4}}, "CN=h", false},
    {{{CN, PRINTABLE, "host\0", 5}, {O, UTF8, "Lab"}}, "CN=host,O=Lab", false},
    /* two entries in one set are not two sets */
    {{{O, UTF8, "a"}, {CN, UTF8, "b", 0, true}}, "O=a,CN=b", false},
    /* a kind that a pin cannot name */
    {{{NID_serialNumber, PRINTABLE, "1"}, {CN, UTF8, "host"}}, "CN=host", false},
    {{{NID_domainComponent, V_ASN1_IA5STRING, "org"},
      {NID_domainComponent, V_ASN1_IA5STRING, "lab"}},
     "DC=org,DC=lab",
     true},
    {{{NID_domainComponent, V_ASN1_IA5STRING, "org"},
      {NID_domainComponent, V_ASN1_IA5STRING, "lab"}},
     "DC=lab,DC=org",
     false},
    {{{NID_pkcs9_emailAddress, V_ASN1_IA5STRING, "a@b.c"}}, "emailAddress=A@b.c", true},
    {{{NID_stateOrProvinceName, UTF8, "x"}, {NID_localityName, UTF8, "y"}, {OU, UTF8, "z"}},
     "ST=x,L=y,OU=z",
     true},
};

static void test_matches(void **state)
{
    (void)state;
    ERR_clear_error();
    for (size_t i = 0; i < sizeof matches / sizeof matches[0]; i++) {
        X509_NAME *subject = subject_of(matches[i].entries, 8);
        bool match = kb_host_subject_matches(matches[i].pin, subject);
        if (match != matches[i].match)
            fail_msg("row %zu, %s: %d", i, matches[i].pin, match);
        X509_NAME_free(subject);
        assert_int_equal(ERR_peek_error(), 0);
    }
    assert_false(kb_host_subject_matches("CN=a", NULL));
    assert_false(kb_host_subject_matches(NULL, NULL));
}

/* As it comes from a certificate: encoded and decoded. */
static void test_decoded(void **state)
{
    (void)state;
    static const struct entry entries[] = {
        {C, PRINTABLE, "AU"}, {O, UTF8, "Lab, Inc"}, {CN, UTF8, "h"}};
    X509_NAME *made = subject_of(entries, 3);
    uint8_t *der = NULL;
    int len = i2d_X509_NAME(made, &der);
    assert_true(len > 0);
    const uint8_t *p = der;
    X509_NAME *subject = d2i_X509_NAME(NULL, &p, len);
    assert_non_null(subject);
    assert_true(kb_host_subject_matches("C=au, O=lab\\, inc, CN=h", subject));
    assert_false(kb_host_subject_matches("C=au, O=lab\\, inc, CN=i", subject));
    X509_NAME_free(subject);
    X509_NAME_free(made);
    OPENSSL_free(der);
}

static const struct {
    struct entry entries[4];
    const char *pin; /* NULL: it cannot be said */
} formats[] = {
    {{{CN, UTF8, "host"}}, "CN=host"},
    {{{C, PRINTABLE, "AU"}, {O, UTF8, "Lab"}, {CN, UTF8, "host"}}, "C=AU,O=Lab,CN=host"},
    {{{O, UTF8, "Lab, Inc\\"}, {CN, UTF8, "a=b"}}, "O=Lab\\, Inc\\\\,CN=a=b"},
    {{{CN, V_ASN1_BMPSTRING, "\0Z\0\xfc", 4}}, "CN=Z\xc3\xbc"},
    {{{CN, V_ASN1_T61STRING, "\xfc"}}, "CN=\xc3\xbc"},
    {{{O, UTF8, " Lab"}}, "O= Lab"},
    {{{0}}, NULL},
    {{{NID_serialNumber, PRINTABLE, "1"}}, NULL},
    {{{CN, UTF8, "host"}, {NID_serialNumber, PRINTABLE, "1"}}, NULL},
    {{{O, UTF8, "a"}, {CN, UTF8, "b", 0, true}}, NULL},
    {{{CN, UTF8, "a\0b", 3}}, NULL},
    {{{CN, UTF8, "a\nhost=evil"}}, NULL},
    {{{CN, UTF8, "a\x7f"}}, NULL},
    {{{CN, UTF8, "a\xff"}}, NULL},
    {{{CN, V_ASN1_BIT_STRING, "host"}}, NULL},
    {{{CN, V_ASN1_NUMERICSTRING, "1234"}}, NULL},
    {{{CN, UTF8, "01234567890123456789012345678901234567890123456789012345678901234"}}, NULL},
    {{{C, PRINTABLE, "AUS"}}, NULL},
};

static void test_format(void **state)
{
    (void)state;
    ERR_clear_error();
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        kb_auto(kb_buf_finish) struct kb_buf out = {0};
        X509_NAME *subject = subject_of(formats[i].entries, 4);
        kb_buf_add_str(&out, "host-subject=");
        bool ok = kb_host_subject_format(&out, subject);
        if (ok != (formats[i].pin != NULL))
            fail_msg("row %zu: %d", i, ok);
        kb_buf_add(&out, "", 1);
        assert_memory_equal(out.data, "host-subject=", 13);
        assert_string_equal((char *)out.data + 13, ok ? formats[i].pin : "");
        if (ok)
            assert_true(kb_host_subject_matches(formats[i].pin, subject));
        X509_NAME_free(subject);
        assert_int_equal(ERR_peek_error(), 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_decoded),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
