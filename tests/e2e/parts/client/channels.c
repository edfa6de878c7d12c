/*
 * Follows every channel of the session: connects it, reports its opening and its end, and counts
 * what arrives. Bulk (samples, port data, changed rectangles) is counted, and reported only where
 * a test waits for it: a report a frame would make the tests slow and their logs unreadable.
 */

#include "client.h"

#include "../report.h"

#include <spice/vd_agent.h>
#include <stdbool.h>
#include <stdlib.h>

enum {
    LOUD = 256, /* samples nearer to zero than this are silence or a codec's noise */
    RECORD_RATE = 48000,
    RECORD_PERIOD_MS = 20,
    PORT_TEXT_MAX = 200, /* a report shows the start of what came, its size tells all of it */
};

static const char *type_name(const struct channel *channel)
{
    return spice_channel_type_to_string(channel->type);
}

struct channel *channels_find(struct client *client, int type, int id)
{
    for (guint i = 0; i < client->channels->len; i++) {
        struct channel *channel = g_ptr_array_index(client->channels, i);
        if (channel->open && channel->type == type && channel->id == id) {
            return channel;
        }
    }
    return NULL;
}

struct channel *channels_find_port(struct client *client, const char *name)
{
    for (guint i = 0; i < client->channels->len; i++) {
        struct channel *channel = g_ptr_array_index(client->channels, i);
        if (channel->open && g_strcmp0(channel->port_name, name) == 0) {
            return channel;
        }
    }
    return NULL;
}

static struct channel *find_by_name(struct client *client, const char *type, int id, bool open)
{
    for (guint i = 0; i < client->channels->len; i++) {
        struct channel *channel = g_ptr_array_index(client->channels, i);
        if (channel->open == open && channel->id == id &&
            g_strcmp0(type_name(channel), type) == 0) {
            return channel;
        }
    }
    return NULL;
}

bool channels_close(struct client *client, const char *type, int id)
{
    struct channel *channel = find_by_name(client, type, id, true);

    if (channel == NULL) {
        return false;
    }
    spice_channel_disconnect(channel->spice, SPICE_CHANNEL_CLOSED);
    return true;
}

bool channels_connect(struct client *client, const char *type, int id)
{
    struct channel *channel = find_by_name(client, type, id, false);
    return channel != NULL && spice_channel_connect(channel->spice);
}

static const char *event_name(SpiceChannelEvent event)
{
    switch (event) {
    case SPICE_CHANNEL_OPENED:
        return "opened";
    case SPICE_CHANNEL_SWITCHING:
        return "switching";
    case SPICE_CHANNEL_CLOSED:
        return "closed";
    case SPICE_CHANNEL_ERROR_CONNECT:
        return "error_connect";
    case SPICE_CHANNEL_ERROR_TLS:
        return "error_tls";
    case SPICE_CHANNEL_ERROR_LINK:
        return "error_link";
    case SPICE_CHANNEL_ERROR_AUTH:
        return "error_auth";
    case SPICE_CHANNEL_ERROR_IO:
        return "error_io";
    case SPICE_CHANNEL_NONE:
    default:
        return "none";
    }
}

/* The session is over when its main channel is, except while it switches to another host. */
static void on_channel_event(SpiceChannel *spice, SpiceChannelEvent event, gpointer data)
{
    struct channel *channel = data;
    const GError *error = spice_channel_get_error(spice);

    channel->open = event == SPICE_CHANNEL_OPENED;
    report("channel", "{s:s s:i s:s s:i s:s}", "type", type_name(channel), "id", channel->id,
           "state", event_name(event), "code", (int)event, "message",
           error != NULL ? error->message : "");
}

/* ---- display ---- */

static void on_primary(SpiceChannel *spice, gint format, gint width, gint height, gint stride,
                       gint shmid, gpointer pixels, gpointer data)
{
    struct channel *channel = data;
    (void)spice;
    (void)stride;
    (void)shmid;
    (void)pixels;
    report("primary", "{s:i s:i s:i s:i}", "display", channel->id, "width", width, "height", height,
           "format", format);
}

static void on_mark(SpiceChannel *spice, gint mark, gpointer data)
{
    struct channel *channel = data;
    (void)spice;
    report("mark", "{s:i s:i}", "display", channel->id, "mark", mark);
}

static void on_invalidate(SpiceChannel *spice, gint x, gint y, gint width, gint height,
                          gpointer data)
{
    struct channel *channel = data;
    (void)spice;
    (void)x;
    (void)y;
    (void)width;
    (void)height;
    channel->invalidates++;
}

/* ---- sound ---- */

static void on_playback_start(SpiceChannel *spice, gint format, gint channels, gint rate,
                              gpointer data)
{
    (void)spice;
    (void)data;
    report("playback_start", "{s:i s:i s:i}", "format", format, "channels", channels, "rate", rate);
}

static void on_playback_data(SpiceChannel *spice, gpointer samples, gint size, gpointer data)
{
    struct channel *channel = data;
    const gint16 *values = samples;
    (void)spice;

    channel->payload_bytes += (guint64)size;
    for (size_t i = 0; i < (size_t)size / sizeof(*values); i++) {
        if (abs(values[i]) >= LOUD) {
            channel->loud_samples++;
        }
    }
    if (!channel->playback_reported) {
        channel->playback_reported = true;
        report("playback_data", "{s:i}", "size", size);
    }
    if (!channel->loud_reported && channel->loud_samples > 0) {
        channel->loud_reported = true;
        report("playback_loud", "{s:I}", "bytes_so_far", (json_int_t)channel->payload_bytes);
    }
}

static void on_playback_stop(SpiceChannel *spice, gpointer data)
{
    (void)spice;
    (void)data;
    report("playback_stop", "{}");
}

/* A square wave of 400 Hz, 16 bits, two channels: easy to tell from silence at the other end. */
static gboolean on_record_tick(gpointer data)
{
    struct channel *channel = data;
    gint16 samples[RECORD_RATE / 1000 * RECORD_PERIOD_MS * 2];

    for (size_t i = 0; i < G_N_ELEMENTS(samples) / 2; i++) {
        gint16 value = (channel->recorder_position / 60) % 2 ? 8000 : -8000;
        samples[2 * i] = value;
        samples[2 * i + 1] = value;
        channel->recorder_position++;
    }
    if (channel->open) {
        spice_record_channel_send_data(SPICE_RECORD_CHANNEL(channel->spice), samples,
                                       sizeof(samples), channel->recorder_position / 48);
    }
    return G_SOURCE_CONTINUE;
}

static void stop_recorder(struct channel *channel)
{
    if (channel->recorder != 0) {
        g_source_remove(channel->recorder);
        channel->recorder = 0;
    }
}

static void on_record_start(SpiceChannel *spice, gint format, gint channels, gint rate,
                            gpointer data)
{
    struct channel *channel = data;
    (void)spice;
    stop_recorder(channel);
    channel->recorder = g_timeout_add(RECORD_PERIOD_MS, on_record_tick, channel);
    report("record_start", "{s:i s:i s:i}", "format", format, "channels", channels, "rate", rate);
}

static void on_record_stop(SpiceChannel *spice, gpointer data)
{
    (void)spice;
    stop_recorder(data);
    report("record_stop", "{}");
}

/* ---- ports ---- */

static void on_port_opened(SpiceChannel *spice, GParamSpec *property, gpointer data)
{
    struct channel *channel = data;
    gboolean opened = FALSE;
    (void)property;

    g_free(channel->port_name);
    channel->port_name = NULL;
    g_object_get(spice, "port-name", &channel->port_name, "port-opened", &opened, NULL);
    report("port", "{s:s s:i s:s? s:b}", "type", type_name(channel), "id", channel->id, "name",
           channel->port_name, "opened", opened);
}

static void on_port_data(SpiceChannel *spice, gpointer bytes, gint size, gpointer data)
{
    struct channel *channel = data;
    (void)spice;
    channel->payload_bytes += (guint64)size;
    report("port_data", "{s:s? s:i s:o}", "name", channel->port_name, "size", size, "text",
           report_text(bytes, MIN((size_t)size, PORT_TEXT_MAX)));
}

/* ---- main ---- */

static void on_agent(SpiceChannel *spice, GParamSpec *property, gpointer data)
{
    gboolean connected = FALSE;
    (void)property;
    (void)data;
    g_object_get(spice, "agent-connected", &connected, NULL);
    report("agent", "{s:b}", "connected", connected);
}

/* It has told of its capabilities; before that spice-gtk uses none of them. */
static void on_agent_update(SpiceChannel *spice, gpointer data)
{
    (void)data;
    if (spice_main_channel_agent_test_capability(SPICE_MAIN_CHANNEL(spice), VD_AGENT_CAP_REPLY)) {
        report("agent_known", "{}");
    }
}

static void on_mouse_mode(SpiceChannel *spice, gpointer data)
{
    gint mode = 0;
    (void)data;
    g_object_get(spice, "mouse-mode", &mode, NULL);
    report("mouse_mode", "{s:s}", "mode", mode == SPICE_MOUSE_MODE_CLIENT ? "client" : "server");
}

static void on_channel_new(SpiceSession *session, SpiceChannel *spice, gpointer data)
{
    struct client *client = data;
    struct channel *channel = g_new0(struct channel, 1);
    (void)session;

    channel->spice = g_object_ref(spice);
    g_object_get(spice, "channel-type", &channel->type, "channel-id", &channel->id, NULL);
    g_ptr_array_add(client->channels, channel);
    report("channel", "{s:s s:i s:s s:i s:s}", "type", type_name(channel), "id", channel->id,
           "state", "new", "code", 0, "message", "");
    g_signal_connect(spice, "channel-event", G_CALLBACK(on_channel_event), channel);

    if (SPICE_IS_MAIN_CHANNEL(spice)) {
        g_signal_connect(spice, "notify::agent-connected", G_CALLBACK(on_agent), channel);
        g_signal_connect(spice, "main-agent-update", G_CALLBACK(on_agent_update), channel);
        g_signal_connect(spice, "main-mouse-update", G_CALLBACK(on_mouse_mode), channel);
        clipboard_watch(client, SPICE_MAIN_CHANNEL(spice));
        return; /* connected by spice_session_connect() */
    }
    if (SPICE_IS_DISPLAY_CHANNEL(spice)) {
        g_signal_connect(spice, "display-primary-create", G_CALLBACK(on_primary), channel);
        g_signal_connect(spice, "display-mark", G_CALLBACK(on_mark), channel);
        g_signal_connect(spice, "display-invalidate", G_CALLBACK(on_invalidate), channel);
    } else if (SPICE_IS_PLAYBACK_CHANNEL(spice)) {
        g_signal_connect(spice, "playback-start", G_CALLBACK(on_playback_start), channel);
        g_signal_connect(spice, "playback-data", G_CALLBACK(on_playback_data), channel);
        g_signal_connect(spice, "playback-stop", G_CALLBACK(on_playback_stop), channel);
    } else if (SPICE_IS_RECORD_CHANNEL(spice)) {
        g_signal_connect(spice, "record-start", G_CALLBACK(on_record_start), channel);
        g_signal_connect(spice, "record-stop", G_CALLBACK(on_record_stop), channel);
    } else if (SPICE_IS_PORT_CHANNEL(spice)) { /* webdav channels are ports too */
        g_signal_connect(spice, "notify::port-opened", G_CALLBACK(on_port_opened), channel);
        g_signal_connect(spice, "port-data", G_CALLBACK(on_port_data), channel);
    }
    spice_channel_connect(spice);
}

static void on_channel_destroy(SpiceSession *session, SpiceChannel *spice, gpointer data)
{
    struct client *client = data;
    (void)session;

    for (guint i = 0; i < client->channels->len; i++) {
        struct channel *channel = g_ptr_array_index(client->channels, i);
        if (channel->spice == spice) {
            channel->open = false;
            stop_recorder(channel);
            report("channel", "{s:s s:i s:s s:i s:s}", "type", type_name(channel), "id",
                   channel->id, "state", "destroyed", "code", 0, "message", "");
        }
    }
}

static void on_disconnected(SpiceSession *session, gpointer data)
{
    (void)session;
    (void)data;
    report("disconnected", "{}");
}

void channels_watch(struct client *client)
{
    g_signal_connect(client->session, "channel-new", G_CALLBACK(on_channel_new), client);
    g_signal_connect(client->session, "channel-destroy", G_CALLBACK(on_channel_destroy), client);
    g_signal_connect(client->session, "disconnected", G_CALLBACK(on_disconnected), client);
}
