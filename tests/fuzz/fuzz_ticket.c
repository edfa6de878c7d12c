/* Tickets. Input: one byte that picks what the rest is: a ticket to open, a key to seal for, a
 * password to seal and open, a password whose ticket is then spoilt. The key is made at the start,
 * so a ticket that opens by chance would not open again; the other three depend on the input alone.
 */
#include "fuzz.h"

#include "spice/ticket.h"

static struct kb_ticket_key *key;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    key = kb_ticket_key_create();
    MUST(key);
    return 0;
}

static void open_any(struct kb_span in)
{
    uint8_t ticket[KB_TICKET_SIZE] = {0};
    char password[KB_PASSWORD_MAX + 1];
    memset(password, 0x7f, sizeof password);
    memcpy(ticket, in.data, in.len < sizeof ticket ? in.len : sizeof ticket);
    bool ok = kb_ticket_open(key, ticket, password);
    MUST(memchr(password, '\0', sizeof password));
    MUST(ok || !password[0]);
}

static void seal_for_any(struct kb_span in)
{
    uint8_t pubkey[KB_LINK_PUBKEY_SIZE];
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    /* What the input does not reach is a good key's. */
    memcpy(pubkey, kb_ticket_key_public(key), sizeof pubkey);
    memcpy(pubkey, in.data, in.len < sizeof pubkey ? in.len : sizeof pubkey);
    bool ok = kb_ticket_seal(&out, pubkey, "sesame");
    MUST(out.len == (ok ? 4 + KB_TICKET_SIZE : 0));
}

static void seal_and_open(struct kb_span in, bool spoil)
{
    char text[80] = "", password[KB_PASSWORD_MAX + 1];
    kb_auto(kb_buf_finish) struct kb_buf out = {0};
    memcpy(text, in.data, in.len < sizeof text - 1 ? in.len : sizeof text - 1);
    size_t len = strlen(text);
    bool sealed = kb_ticket_seal(&out, kb_ticket_key_public(key), text);
    MUST(sealed == (len <= 59));
    MUST(out.len == (sealed ? 4 + KB_TICKET_SIZE : 0));
    if (!sealed)
        return;
    MUST(kb_get_u32(out.data) == 1);
    if (spoil) {
        size_t at = in.len ? in.data[in.len - 1] % KB_TICKET_SIZE : 0;
        out.data[4 + at] ^= 1;
        MUST(!kb_ticket_open(key, out.data + 4, password));
        MUST(!password[0]);
    } else {
        MUST(kb_ticket_open(key, out.data + 4, password));
        MUST(strcmp(password, text) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct kb_span in = kb_span(data + 1, size - 1);
    switch (data[0] & 3) {
    case 0:
        open_any(in);
        break;
    case 1:
        seal_for_any(in);
        break;
    default:
        seal_and_open(in, data[0] & 1);
    }
    return 0;
}
