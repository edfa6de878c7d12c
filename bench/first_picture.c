/* Connects as a stock client does (spice-gtk without a window: main, display, inputs, cursor, all
 * TLS) and says after how many milliseconds the first picture was there: the display has said that
 * it is worth showing and something was drawn; and when the picture was whole (the last drawing
 * before --quiet ms without one). One thread.
 *
 *   first_picture --port N --password TICKET --ca FILE --subject SUBJECT */
#include <spice-client.h>
#include <stdio.h>
#include <stdlib.h>

static char *port, *password, *ca_file, *subject;
static gint quiet_ms = 300;
static const GOptionEntry entries[] = {
    {"port", 0, 0, G_OPTION_ARG_STRING, &port, "TLS port of 127.0.0.1", "N"},
    {"password", 0, 0, G_OPTION_ARG_STRING, &password, "ticket", "TEXT"},
    {"ca", 0, 0, G_OPTION_ARG_FILENAME, &ca_file, "trusted CA", "FILE"},
    {"subject", 0, 0, G_OPTION_ARG_STRING, &subject, "of the server's certificate", "SUBJECT"},
    {"quiet", 0, 0, G_OPTION_ARG_INT, &quiet_ms, "no drawing for so long: it is whole", "MS"},
    {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
};

static GMainLoop *loop;
static gint64 start, first, last;
static gboolean marked, drawn;
static guint timer;
static gint failed;

static gboolean on_quiet(gpointer data)
{
    (void)data;
    timer = 0;
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static void look(void)
{
    last = g_get_monotonic_time();
    if (!marked || !drawn)
        return;
    if (!first)
        first = last;
    if (timer)
        g_source_remove(timer);
    timer = g_timeout_add((guint)quiet_ms, on_quiet, NULL);
}

static void on_mark(SpiceChannel *channel, gint mark)
{
    (void)channel;
    marked = mark != 0;
    look();
}

static void on_invalidate(SpiceChannel *channel, gint x, gint y, gint w, gint h)
{
    (void)channel;
    (void)x;
    (void)y;
    (void)w;
    (void)h;
    drawn = TRUE;
    look();
}

static void on_event(SpiceChannel *channel, SpiceChannelEvent event)
{
    if (event == SPICE_CHANNEL_OPENED || event == SPICE_CHANNEL_NONE)
        return;
    const GError *error = spice_channel_get_error(channel);
    fprintf(stderr, "channel event %d: %s\n", (int)event, error ? error->message : "");
    failed = 1;
    g_main_loop_quit(loop);
}

static void on_channel(SpiceSession *session, SpiceChannel *channel)
{
    (void)session;
    g_signal_connect(channel, "channel-event", G_CALLBACK(on_event), NULL);
    if (SPICE_IS_DISPLAY_CHANNEL(channel)) {
        g_signal_connect(channel, "display-mark", G_CALLBACK(on_mark), NULL);
        g_signal_connect(channel, "display-invalidate", G_CALLBACK(on_invalidate), NULL);
    }
    /* main connects by itself; the rest as a viewer does it. */
    if (SPICE_IS_DISPLAY_CHANNEL(channel) || SPICE_IS_INPUTS_CHANNEL(channel) ||
        SPICE_IS_CURSOR_CHANNEL(channel))
        spice_channel_connect(channel);
}

static gboolean on_late(gpointer data)
{
    (void)data;
    fprintf(stderr, "no picture within 20 s\n");
    failed = 1;
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || !port || !ca_file || !subject) {
        fprintf(stderr, "%s\n", error ? error->message : "--port, --ca and --subject are needed");
        return 2;
    }
    SpiceSession *session = spice_session_new();
    g_object_set(session, "host", "127.0.0.1", "tls-port", port, "password", password, "ca-file",
                 ca_file, "cert-subject", subject, "enable-audio", FALSE, "enable-usbredir", FALSE,
                 "enable-smartcard", FALSE, NULL);
    g_signal_connect(session, "channel-new", G_CALLBACK(on_channel), NULL);
    loop = g_main_loop_new(NULL, FALSE);
    g_timeout_add_seconds(20, on_late, NULL);
    start = g_get_monotonic_time();
    if (!spice_session_connect(session))
        return 1;
    g_main_loop_run(loop);
    if (!failed)
        printf("{\"first_ms\": %.2f, \"whole_ms\": %.2f}\n", (double)(first - start) / 1e3,
               (double)(last - start) / 1e3);
    return failed;
}
