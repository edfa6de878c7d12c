/* The table of drivers, and what they read of their configuration. Any thread; it never changes. */
#include "source/driver.h"

#include <stdlib.h>
#include <string.h>

static const struct kb_source_driver *const drivers[] = {
    &kb_source_driver_static,     &kb_source_driver_http,       &kb_source_driver_proxmox,
    &kb_source_driver_openstack,  &kb_source_driver_ovirt,      &kb_source_driver_shakenfist,
    &kb_source_driver_incus,      &kb_source_driver_opennebula, &kb_source_driver_kubevirt,
    &kb_source_driver_registered,
#ifdef KB_WITH_LIBVIRT
    &kb_source_driver_libvirt,
#endif
};

const struct kb_source_driver *kb_source_driver_at(size_t index)
{
    return index < sizeof drivers / sizeof drivers[0] ? drivers[index] : NULL;
}

const struct kb_source_driver *kb_source_driver_find(const char *type)
{
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
        if (strcmp(drivers[i]->type, type) == 0)
            return drivers[i];
    return NULL;
}

bool kb_source_type_known(const char *type)
{
    return kb_source_driver_find(type) != NULL;
}

/* --- settings --------------------------------------------------------------------------------- */

static const struct kb_setting *setting(const struct kb_source_config *c, const char *key)
{
    static const struct kb_setting absent;
    const struct kb_source_driver *driver = kb_source_driver_find(c->type);
    for (size_t i = 0; i < driver->key_count; i++)
        if (strcmp(driver->keys[i].name, key) == 0)
            return i < c->setting_count ? &c->settings[i] : &absent;
    abort(); /* a key that the driver's own table lacks */
}

const char *kb_setting_text(const struct kb_source_config *c, const char *key)
{
    return setting(c, key)->text;
}

const char *kb_setting_secret(const struct kb_source_config *c, const char *key)
{
    return kb_secret_text(&setting(c, key)->secret);
}

int64_t kb_setting_number(const struct kb_source_config *c, const char *key)
{
    return setting(c, key)->number;
}

uint16_t kb_setting_port(const struct kb_source_config *c, const char *key)
{
    return setting(c, key)->port;
}

unsigned kb_setting_word(const struct kb_source_config *c, const char *key)
{
    return setting(c, key)->word;
}

bool kb_setting_flag(const struct kb_source_config *c, const char *key)
{
    return setting(c, key)->flag;
}

/* --- words ------------------------------------------------------------------------------------ */

static const char *const protocols[] = {
    [KB_PROTOCOL_SPICE] = "spice",
    [KB_PROTOCOL_VNC] = "vnc",
    [KB_PROTOCOL_SERIAL] = "serial",
};

const char *kb_protocol_name(enum kb_protocol p)
{
    return protocols[p];
}

bool kb_protocol_of(const char *name, enum kb_protocol *p)
{
    for (unsigned i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        if (strcmp(protocols[i], name) != 0)
            continue;
        *p = (enum kb_protocol)i;
        return true;
    }
    return false;
}

const char *kb_transport_name(enum kb_transport t)
{
    static const char *const names[] = {
        [KB_TRANSPORT_TCP] = "tcp",         [KB_TRANSPORT_UNIX] = "unix",
        [KB_TRANSPORT_CONNECT] = "connect", [KB_TRANSPORT_WEBSOCKET] = "websocket",
        [KB_TRANSPORT_SOURCE] = "source",
    };
    return names[t];
}
