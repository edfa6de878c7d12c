/*
 * Character devices: named ports that echo what the client writes, and a smartcard reader that
 * reports what the client's card says. The agent is in agent.c.
 */

#include "server.h"

#include "../report.h"

#include <spice/enums.h>
#include <spice/macros.h>
#include <spice/protocol.h>
#include <string.h>

enum {
    ECHO_WAITING_MAX = 1 << 20,
    SMARTCARD_ERROR = 2,
    SMARTCARD_READER_ADD = 3,
};

static struct char_device *from_spice(SpiceCharDeviceInstance *spice)
{
    return SPICE_CONTAINEROF(spice, struct char_device, spice);
}

static const char *device_name(const struct char_device *device)
{
    return device->spice.portname != NULL ? device->spice.portname : device->spice.subtype;
}

void ports_state(SpiceCharDeviceInstance *spice, int connected)
{
    struct char_device *device = from_spice(spice);
    report("device", "{s:i s:s s:b}", "server", device->server->index, "name", device_name(device),
           "connected", connected);
}

void ports_event(SpiceCharDeviceInstance *spice, uint8_t event)
{
    struct char_device *device = from_spice(spice);
    report("port_event", "{s:i s:s s:i}", "server", device->server->index, "name",
           device_name(device), "code", event);
}

int ports_read(SpiceCharDeviceInstance *spice, uint8_t *buffer, int size)
{
    struct char_device *device = from_spice(spice);
    guint count = MIN((guint)size, device->to_client->len);

    if (count > 0) {
        memcpy(buffer, device->to_client->data, count);
        g_byte_array_remove_range(device->to_client, 0, count);
    }
    return (int)count;
}

void ports_send(struct char_device *device, const void *bytes, size_t size)
{
    g_byte_array_append(device->to_client, bytes, (guint)size);
    spice_server_char_device_wakeup(&device->spice);
}

void ports_add(struct server *server, struct char_device *device,
               const SpiceCharDeviceInterface *interface, const char *subtype, const char *name)
{
    device->server = server;
    device->to_client = g_byte_array_new();
    device->spice.base.sif = &interface->base;
    device->spice.subtype = subtype;
    device->spice.portname = name;
    spice_server_add_interface(server->spice, &device->spice.base);
    if (name != NULL) {
        spice_server_port_event(&device->spice, SPICE_PORT_EVENT_OPENED);
    }
}

/* ---- echo ---- */

static int echo_write(SpiceCharDeviceInstance *spice, const uint8_t *bytes, int size)
{
    struct char_device *device = from_spice(spice);

    if (device->to_client->len > ECHO_WAITING_MAX) {
        return 0; /* full: libspice-server asks again after the next read */
    }
    device->received += (uint64_t)size;
    ports_send(device, bytes, (size_t)size);
    return size;
}

static const SpiceCharDeviceInterface echo_interface = {
    .base =
        {
            .type = SPICE_INTERFACE_CHAR_DEVICE,
            .description = "echo",
            .major_version = SPICE_INTERFACE_CHAR_DEVICE_MAJOR,
            .minor_version = SPICE_INTERFACE_CHAR_DEVICE_MINOR,
        },
    .state = ports_state,
    .write = echo_write,
    .read = ports_read,
    .event = ports_event,
};

void ports_add_echo(struct server *server, const char *name)
{
    ports_add(server, &server->ports[server->port_count++], &echo_interface, "port", name);
}

/* ---- smartcard ---- */

/* Every message starts with type, reader and length, each 32 bits in network order. The client's
 * card only follows when its reader has been accepted, with an error message that says success. */
static int smartcard_write(SpiceCharDeviceInstance *spice, const uint8_t *bytes, int size)
{
    struct char_device *device = from_spice(spice);
    uint32_t type = 0;

    device->received += (uint64_t)size;
    if (size >= (int)sizeof(type)) {
        memcpy(&type, bytes, sizeof(type));
        type = g_ntohl(type);
        report("smartcard", "{s:i s:i s:i}", "server", device->server->index, "type", (int)type,
               "size", size);
        if (type == SMARTCARD_READER_ADD) {
            const uint32_t accepted[] = {g_htonl(SMARTCARD_ERROR), 0, g_htonl(sizeof(uint32_t)), 0};
            ports_send(device, accepted, sizeof(accepted));
        }
    }
    return size;
}

static const SpiceCharDeviceInterface smartcard_interface = {
    .base =
        {
            .type = SPICE_INTERFACE_CHAR_DEVICE,
            .description = "smartcard reader",
            .major_version = SPICE_INTERFACE_CHAR_DEVICE_MAJOR,
            .minor_version = SPICE_INTERFACE_CHAR_DEVICE_MINOR,
        },
    .state = ports_state,
    .write = smartcard_write,
    .read = ports_read,
    .event = ports_event,
};

void ports_add_smartcard(struct server *server)
{
    ports_add(server, &server->smartcard, &smartcard_interface, "smartcard", NULL);
}
