/*
 * The guest's side of folder sharing, as far as one request needs it. The webdav channel is a port
 * that carries many HTTP connections: every frame is a 64-bit connection number, a 16-bit size
 * (both little-endian) and that many bytes; size 0 ends a connection. The client serves its
 * folder over HTTP on the other end.
 */

#include "server.h"

#include "../report.h"

#include <endian.h>
#include <spice/macros.h>
#include <stdlib.h>
#include <string.h>

enum { FRAME_HEADER = sizeof(int64_t) + sizeof(uint16_t), STATUS_AT = 9 };

static const int64_t connection_number = 1;

static void send_frame(struct server *server, const char *bytes, size_t size)
{
    uint8_t header[FRAME_HEADER];
    uint64_t number = htole64((uint64_t)connection_number);
    uint16_t length = htole16((uint16_t)size);

    memcpy(header, &number, sizeof(number));
    memcpy(header + sizeof(number), &length, sizeof(length));
    ports_send(&server->webdav, header, sizeof(header));
    ports_send(&server->webdav, bytes, size);
}

void webdav_ask(struct server *server, const char *what)
{
    bool plain = what[0] == '/';
    g_autofree char *request = g_strdup_printf(
        "%s%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n%s",
        plain ? "GET " : "", what, plain ? "" : "Content-Length: 5\r\n", plain ? "" : "bytes");

    g_byte_array_set_size(server->webdav_response, 0);
    send_frame(server, request, strlen(request));
}

/* Reports the response once all of it is there: by its Content-Length, or at the end of the
 * connection. */
static void check_response(struct server *server, bool ended)
{
    GByteArray *response = server->webdav_response;
    g_autofree char *text = g_strndup((const char *)response->data, response->len);
    const char *head_end = strstr(text, "\r\n\r\n");

    if (head_end == NULL || !g_str_has_prefix(text, "HTTP/1.")) {
        return;
    }
    const char *body = head_end + 4;
    size_t body_size = response->len - (size_t)(body - text);
    const char *length = g_strstr_len(text, head_end - text, "Content-Length: ");
    bool whole = length != NULL && body_size >= strtoul(length + 16, NULL, 10);
    if (!whole && !ended) {
        return;
    }
    g_autofree char *sum =
        g_compute_checksum_for_data(G_CHECKSUM_SHA256, response->data + (body - text), body_size);
    report("webdav", "{s:i s:i s:I s:s s:o}", "server", server->index, "status",
           (int)strtol(text + STATUS_AT, NULL, 10), "size", (json_int_t)body_size, "sha256", sum,
           "text", report_text(body, MIN(body_size, 200)));
    g_byte_array_set_size(response, 0);
}

static int webdav_write(SpiceCharDeviceInstance *spice, const uint8_t *bytes, int size)
{
    struct char_device *device = SPICE_CONTAINEROF(spice, struct char_device, spice);
    struct server *server = device->server;
    GByteArray *input = server->webdav_input;

    device->received += (uint64_t)size;
    g_byte_array_append(input, bytes, (guint)size);
    while (input->len >= FRAME_HEADER) {
        uint64_t number;
        uint16_t length;
        memcpy(&number, input->data, sizeof(number));
        memcpy(&length, input->data + sizeof(number), sizeof(length));
        length = le16toh(length);
        if (input->len < (guint)FRAME_HEADER + length) {
            break;
        }
        if ((int64_t)le64toh(number) == connection_number) {
            g_byte_array_append(server->webdav_response, input->data + FRAME_HEADER, length);
            check_response(server, length == 0);
        }
        g_byte_array_remove_range(input, 0, (guint)FRAME_HEADER + length);
    }
    return size;
}

static const SpiceCharDeviceInterface webdav_interface = {
    .base =
        {
            .type = SPICE_INTERFACE_CHAR_DEVICE,
            .description = "shared folder",
            .major_version = SPICE_INTERFACE_CHAR_DEVICE_MAJOR,
            .minor_version = SPICE_INTERFACE_CHAR_DEVICE_MINOR,
        },
    .state = ports_state,
    .write = webdav_write,
    .read = ports_read,
    .event = ports_event,
};

void webdav_add(struct server *server)
{
    server->webdav_input = g_byte_array_new();
    server->webdav_response = g_byte_array_new();
    ports_add(server, &server->webdav, &webdav_interface, "port", "org.spice-space.webdav.0");
}
