/* The host-subject pin: reads the text into an X509_NAME and lets OpenSSL compare. X509_NAME_cmp
 * goes by the canonical form of each value (UTF-8, white space folded, ASCII without case), entry
 * by entry and in order, which is what every stock client's pin does too; a value whose characters
 * cannot be read has no canonical form and equals nothing. Not here: where pins and certificates
 * come from. Pure: any thread, no state. */
#include "spice/host_subject.h"

#include "base/auto.h"

#include <openssl/err.h>

/* What a pin may name. The text is also OpenSSL's short name. */
static const struct {
    const char *key;
    int nid;
} keys[] = {
    {"C", NID_countryName},      {"ST", NID_stateOrProvinceName},          {"L", NID_localityName},
    {"O", NID_organizationName}, {"OU", NID_organizationalUnitName},       {"CN", NID_commonName},
    {"DC", NID_domainComponent}, {"emailAddress", NID_pkcs9_emailAddress},
};
enum { KEYS = sizeof keys / sizeof keys[0] };

static void free_name(X509_NAME **n)
{
    X509_NAME_free(*n);
}

/* As in ticket.c: errors left in the queue would be taken for a TLS connection's. */
static void forget_errors(const int *unused)
{
    (void)unused;
    ERR_pop_to_mark();
}

#define FORGET_ERRORS kb_auto(forget_errors) __attribute__((unused)) int mark_ = ERR_set_mark()

/* Takes a text up to an unescaped `end` or the pin's own end off *p, without its escapes. */
static const char *take_text(const char **p, char end, struct kb_buf *text)
{
    const char *s = *p;
    text->len = 0;
    for (; *s && *s != end; s++) {
        if (*s == '\\') {
            s++;
            if (*s != '\\' && *s != ',')
                return "a backslash may only stand before a backslash or a comma";
        }
        kb_buf_add(text, s, 1);
    }
    *p = s;
    return NULL;
}

static int nid_of(const struct kb_buf *key)
{
    for (size_t i = 0; i < KEYS; i++)
        if (strlen(keys[i].key) == key->len && memcmp(keys[i].key, key->data, key->len) == 0)
            return keys[i].nid;
    return NID_undef;
}

/* One "key=value" off *p, with the comma behind it. */
static const char *read_entry(const char **p, struct kb_buf *text, X509_NAME *name)
{
    const char *wrong = take_text(p, '=', text);
    if (wrong)
        return wrong;
    if (!**p)
        return "an entry must be key=value";
    int nid = nid_of(text);
    if (nid == NID_undef)
        return "a key must be one of C, ST, L, O, OU, CN, DC, emailAddress";
    ++*p;
    wrong = take_text(p, ',', text);
    if (wrong)
        return wrong;
    if (!text->len)
        return "a value must not be empty";
    if (text->len > INT16_MAX ||
        !X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, text->data, (int)text->len, -1, 0))
        return "a value is not UTF-8, too long, or has characters that its key does not allow";
    if (**p)
        ++*p;
    return NULL;
}

static const char *read_pin(const char *pin, X509_NAME *name)
{
    kb_auto(kb_buf_finish) struct kb_buf text = {0};
    const char *p = pin ? pin : "";
    for (;;) {
        while (*p == ' ')
            p++;
        if (!*p)
            break;
        const char *wrong = read_entry(&p, &text, name);
        if (wrong)
            return wrong;
    }
    /* Stock clients take an empty pin and compare it with an empty subject. Nobody means that. */
    return X509_NAME_entry_count(name) ? NULL : "the host subject is empty";
}

const char *kb_host_subject_check(const char *pin)
{
    FORGET_ERRORS;
    kb_auto(free_name) X509_NAME *name = X509_NAME_new();
    return name ? read_pin(pin, name) : "no memory";
}

bool kb_host_subject_matches(const char *pin, X509_NAME *subject)
{
    FORGET_ERRORS;
    kb_auto(free_name) X509_NAME *name = X509_NAME_new();
    return name && subject && !read_pin(pin, name) && X509_NAME_cmp(name, subject) == 0;
}

static const char *key_of(X509_NAME_ENTRY *entry)
{
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    for (size_t i = 0; i < KEYS; i++)
        if (keys[i].nid == nid)
            return keys[i].key;
    return NULL;
}

static bool format_entry(struct kb_buf *out, X509_NAME_ENTRY *entry)
{
    const char *key = key_of(entry);
    unsigned char *value = NULL;
    if (!key)
        return false;
    int len = ASN1_STRING_to_UTF8(&value, X509_NAME_ENTRY_get_data(entry));
    bool ok = len > 0;
    if (ok) {
        if (out->len)
            kb_buf_add_str(out, ",");
        kb_buf_add_str(out, key);
        kb_buf_add_str(out, "=");
    }
    for (int i = 0; ok && i < len; i++) {
        /* A pin is one line of text, ended by NUL. */
        ok = value[i] >= ' ' && value[i] != 0x7f;
        if (value[i] == '\\' || value[i] == ',')
            kb_buf_add_str(out, "\\");
        kb_buf_add(out, &value[i], 1);
    }
    OPENSSL_free(value);
    return ok;
}

bool kb_host_subject_format(struct kb_buf *out, X509_NAME *subject)
{
    FORGET_ERRORS;
    kb_auto(kb_buf_finish) struct kb_buf pin = {0};
    for (int i = 0; i < X509_NAME_entry_count(subject); i++)
        if (!format_entry(&pin, X509_NAME_get_entry(subject, i)))
            return false;
    kb_buf_add(&pin, "", 1);
    /* Two entries in one set, and values that a pin's key does not allow, show here. */
    if (!kb_host_subject_matches((const char *)pin.data, subject))
        return false;
    kb_buf_add_str(out, (const char *)pin.data);
    return true;
}
