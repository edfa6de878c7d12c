/* Reads, writes and combines filters of USB devices. Pure; any thread. */
#include "policy/usb_filter.h"

#include "base/auto.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One number up to the divider, which is passed. */
static bool number(const char **at, int32_t max, char divider, int32_t *value)
{
    const char *text = *at;
    bool negative = *text == '-';
    if (negative)
        text++;
    int base = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10;
    if (base == 16)
        text += 2;
    uint32_t n = 0;
    const char *digits = text;
    for (;; text++) {
        uint32_t d = *text >= '0' && *text <= '9'                 ? (uint32_t)(*text - '0')
                     : base == 16 && *text >= 'a' && *text <= 'f' ? (uint32_t)(*text - 'a') + 10
                     : base == 16 && *text >= 'A' && *text <= 'F' ? (uint32_t)(*text - 'A') + 10
                                                                  : 16;
        if (d == 16)
            break;
        n = n * (uint32_t)base + d;
        if (n > (uint32_t)max)
            return false;
    }
    if (text == digits || (negative && (n != 1 || base == 16)))
        return false;
    if (divider && *text++ != divider)
        return false;
    *value = negative ? KB_USB_ANY : (int32_t)n;
    *at = text;
    return true;
}

static const char *read_rule(const char **at, struct kb_usb_rule *r)
{
    if (!number(at, 0xff, ',', &r->device_class))
        return "a rule begins with a class, 0 to 255 or -1, and a comma";
    if (!number(at, 0xffff, ',', &r->vendor))
        return "a rule's second number is a vendor, 0 to 0xffff or -1";
    if (!number(at, 0xffff, ',', &r->product))
        return "a rule's third number is a product, 0 to 0xffff or -1";
    if (!number(at, 0xffff, ',', &r->version))
        return "a rule's fourth number is a version, 0 to 0xffff or -1";
    int32_t allow;
    if (!number(at, 1, '\0', &allow) || allow < 0)
        return "a rule ends with 1 to allow or 0 to refuse";
    r->allow = allow == 1;
    return NULL;
}

const char *kb_usb_filter_parse(const char *text, struct kb_usb_filter *f)
{
    *f = (struct kb_usb_filter){0};
    const char *why = "a filter has at least one rule class,vendor,product,version,allow";
    /* As in usbredir, dividers at the ends and doubled ones are nothing. */
    while (*text) {
        if (*text == '|') {
            text++;
            continue;
        }
        struct kb_usb_rule r = {0};
        if ((why = read_rule(&text, &r)))
            break;
        if (*text && *text != '|') {
            why = "rules are divided by |";
            break;
        }
        if (f->count == KB_USB_FILTER_MAX) {
            why = "a filter has at most 256 rules";
            break;
        }
        f->rules = kb_realloc(f->rules, (f->count + 1) * sizeof *f->rules);
        f->rules[f->count++] = r;
    }
    if (why)
        kb_usb_filter_finish(f);
    return why;
}

void kb_usb_filter_finish(struct kb_usb_filter *f)
{
    free(f->rules);
    *f = (struct kb_usb_filter){0};
}

static void print(FILE *out, int32_t n, int digits)
{
    if (n == KB_USB_ANY)
        fputs("-1", out);
    else
        fprintf(out, "0x%0*x", digits, (unsigned)n);
    fputc(',', out);
}

char *kb_usb_filter_format(const struct kb_usb_filter *f)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        abort();
    for (size_t i = 0; i < f->count; i++) {
        const struct kb_usb_rule *r = &f->rules[i];
        if (i)
            fputc('|', out);
        print(out, r->device_class, 2);
        print(out, r->vendor, 4);
        print(out, r->product, 4);
        print(out, r->version, 4);
        fputs(r->allow ? "1" : "0", out);
    }
    fclose(out);
    return text;
}
