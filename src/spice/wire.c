/* Names of the wire's numbers, for logs, pages and metrics. Pure: any thread, no state. */
#include "spice/wire.h"

const char *kb_channel_type_name(unsigned type)
{
    static const char *const names[KB_CHANNEL_END] = {
        [KB_CHANNEL_MAIN] = "main",         [KB_CHANNEL_DISPLAY] = "display",
        [KB_CHANNEL_INPUTS] = "inputs",     [KB_CHANNEL_CURSOR] = "cursor",
        [KB_CHANNEL_PLAYBACK] = "playback", [KB_CHANNEL_RECORD] = "record",
        [KB_CHANNEL_TUNNEL] = "tunnel",     [KB_CHANNEL_SMARTCARD] = "smartcard",
        [KB_CHANNEL_USBREDIR] = "usbredir", [KB_CHANNEL_PORT] = "port",
        [KB_CHANNEL_WEBDAV] = "webdav",
    };
    return type < KB_CHANNEL_END && names[type] ? names[type] : "unknown";
}

const char *kb_direction_name(enum kb_direction d)
{
    return d == KB_FROM_CLIENT ? "client_to_server" : "server_to_client";
}
