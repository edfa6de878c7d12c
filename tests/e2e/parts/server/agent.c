/*
 * The guest's agent, as a script wants it: it reports every message that comes and says what it is
 * told to say. Chunks have a VDIChunkHeader (u32 port, u32 size) before them; a message is
 * VDAgentMessage (u32 protocol, u32 type, u64 opaque, u32 size) and its body.
 */

#include "server.h"

#include "../report.h"

#include <endian.h>
#include <spice/macros.h>
#include <spice/vd_agent.h>
#include <string.h>

enum { SHOWN_MAX = 512 };

static uint32_t u32_at(const GByteArray *bytes, guint at)
{
    uint32_t value;
    memcpy(&value, bytes->data + at, sizeof(value));
    return le32toh(value);
}

static char *to_hex(const uint8_t *bytes, size_t size)
{
    GString *hex = g_string_new(NULL);
    for (size_t i = 0; i < size; i++) {
        g_string_append_printf(hex, "%02x", bytes[i]);
    }
    return g_string_free(hex, FALSE);
}

/* Whole messages at the front of what came. */
static void report_messages(struct server *server)
{
    GByteArray *message = server->agent_message;

    while (message->len >= sizeof(VDAgentMessage)) {
        uint32_t size = u32_at(message, 16);
        if (message->len - sizeof(VDAgentMessage) < size) {
            return;
        }
        const uint8_t *body = message->data + sizeof(VDAgentMessage);
        g_autofree char *hex = to_hex(body, MIN(size, SHOWN_MAX));
        g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, body, size);
        report("agent_message", "{s:i s:i s:I s:s s:s}", "server", server->index, "type",
               (int)u32_at(message, 4), "size", (json_int_t)size, "body", hex, "sha256", sum);
        g_byte_array_remove_range(message, 0, (guint)sizeof(VDAgentMessage) + size);
    }
}

static int agent_write(SpiceCharDeviceInstance *spice, const uint8_t *bytes, int size)
{
    struct char_device *device = SPICE_CONTAINEROF(spice, struct char_device, spice);
    struct server *server = device->server;
    GByteArray *input = server->agent_input;

    device->received += (uint64_t)size;
    report("agent_data", "{s:i s:i s:I}", "server", server->index, "size", size, "total",
           (json_int_t)device->received);
    g_byte_array_append(input, bytes, (guint)size);
    while (input->len >= sizeof(VDIChunkHeader)) {
        uint32_t port = u32_at(input, 0), length = u32_at(input, 4);
        if (input->len - sizeof(VDIChunkHeader) < length) {
            break;
        }
        /* The server's own messages are not the client's. */
        if (port == VDP_CLIENT_PORT) {
            g_byte_array_append(server->agent_message, input->data + sizeof(VDIChunkHeader),
                                length);
        }
        g_byte_array_remove_range(input, 0, (guint)sizeof(VDIChunkHeader) + length);
        report_messages(server);
    }
    return size;
}

static const SpiceCharDeviceInterface agent_interface = {
    .base =
        {
            .type = SPICE_INTERFACE_CHAR_DEVICE,
            .description = "agent",
            .major_version = SPICE_INTERFACE_CHAR_DEVICE_MAJOR,
            .minor_version = SPICE_INTERFACE_CHAR_DEVICE_MINOR,
        },
    .state = ports_state,
    .write = agent_write,
    .read = ports_read,
    .event = ports_event,
};

void agent_add(struct server *server)
{
    server->agent_input = g_byte_array_new();
    server->agent_message = g_byte_array_new();
    ports_add(server, &server->agent, &agent_interface, "vdagent", NULL);
}

bool agent_say(struct server *server, const char *type, const char *hex)
{
    gint64 number = 0;
    size_t size = strlen(hex) / 2;

    if (!g_ascii_string_to_signed(type, 10, 0, G_MAXINT32, &number, NULL) || strlen(hex) % 2) {
        return false;
    }
    VDIChunkHeader chunk = {htole32(VDP_CLIENT_PORT),
                            htole32((uint32_t)(sizeof(VDAgentMessage) + size))};
    VDAgentMessage header = {htole32(VD_AGENT_PROTOCOL), htole32((uint32_t)number), 0,
                             htole32((uint32_t)size)};
    g_autofree uint8_t *body = g_malloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        int high = g_ascii_xdigit_value(hex[2 * i]), low = g_ascii_xdigit_value(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        body[i] = (uint8_t)(high << 4 | low);
    }
    ports_send(&server->agent, &chunk, sizeof(chunk));
    ports_send(&server->agent, &header, sizeof(header));
    ports_send(&server->agent, body, size);
    return true;
}
