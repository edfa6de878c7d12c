/* The pin. Input: a pin up to the first NUL, then a subject as DER. */
#include "fuzz.h"

#include "spice/host_subject.h"

#include <openssl/err.h>

static bool has_nul(X509_NAME *subject)
{
    for (int i = 0; i < X509_NAME_entry_count(subject); i++) {
        unsigned char *text = NULL;
        int len =
            ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)));
        bool nul = len > 0 && memchr(text, '\0', (size_t)len);
        OPENSSL_free(text);
        if (nul)
            return true;
    }
    return false;
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* The subject's own pin: it matches, and with any letter or digit changed it does not. */
static void check_own_pin(X509_NAME *subject)
{
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    bool ok = kb_host_subject_format(&out, subject);
    MUST(ok == (out.len > 0));
    if (!ok)
        return;
    kb_buf_add(&out, "", 1);
    char *pin = (char *)out.data;
    MUST(strlen(pin) == out.len - 1 && !strpbrk(pin, "\r\n"));
    MUST(!kb_host_subject_check(pin));
    MUST(kb_host_subject_matches(pin, subject));
    MUST(!has_nul(subject));
    for (size_t i = 0; pin[i] && i < 64; i++) {
        char was = pin[i];
        if (!is_letter_or_digit(was))
            continue;
        pin[i] = was == '7' ? '8' : '7';
        MUST(!kb_host_subject_matches(pin, subject));
        pin[i] = was;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, '\0', size) : NULL;
    size_t len = nul ? (size_t)(nul - data) : size;
    kb_auto(kb_buf_finish) struct kb_buf text = {0};
    kb_buf_add_str(&text, " ");
    kb_buf_add(&text, data, len);
    kb_buf_add(&text, "", 1);
    const char *pin = (const char *)text.data + 1;

    const char *wrong = kb_host_subject_check(pin);
    /* Spaces before a key are nothing. */
    MUST((wrong == NULL) == (kb_host_subject_check(pin - 1) == NULL));

    if (nul) {
        const uint8_t *der = nul + 1;
        X509_NAME *subject = d2i_X509_NAME(NULL, &der, (long)(size - len - 1));
        ERR_clear_error();
        if (subject) {
            bool match = kb_host_subject_matches(pin, subject);
            MUST(match == kb_host_subject_matches(pin - 1, subject));
            MUST(!match || !wrong);
            MUST(!match || !has_nul(subject));
            MUST(!match || X509_NAME_entry_count(subject) > 0);
            ERR_clear_error(); /* has_nul's own */
            check_own_pin(subject);
            ERR_clear_error();
            X509_NAME_free(subject);
        }
    }
    MUST(ERR_peek_error() == 0);
    return 0;
}
