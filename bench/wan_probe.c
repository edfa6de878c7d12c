/* How long a key press takes to be seen: presses keys as a stock client does (spice-gtk without a
 * window), and waits for the drawing of the box that the other side paints for each. What else is
 * drawn meanwhile is counted. One thread; one JSON line in the end.
 *
 *   wan_probe --host ADDRESS (--tls-port N --ca FILE --subject SUBJECT | --port N)
 *             --password TICKET --box X,Y,W,H --keys N */
#include <spice-client.h>
#include <stdio.h>
#include <stdlib.h>

#define WARMUP_MS 4000 /* slow start, and the test of bandwidth that main begins with */
#define PAUSE_MS 400
#define PAUSE_MORE_MS 800 /* at most; so that no press keeps step with anything */
#define LOST_MS 15000

static char *host, *port, *tls_port, *password, *ca_file, *subject, *box_text;
static gint keys = 40;
static const GOptionEntry entries[] = {
    {"host", 0, 0, G_OPTION_ARG_STRING, &host, "where it listens", "ADDRESS"},
    {"port", 0, 0, G_OPTION_ARG_STRING, &port, "port in clear", "N"},
    {"tls-port", 0, 0, G_OPTION_ARG_STRING, &tls_port, "TLS port", "N"},
    {"password", 0, 0, G_OPTION_ARG_STRING, &password, "ticket", "TEXT"},
    {"ca", 0, 0, G_OPTION_ARG_FILENAME, &ca_file, "trusted CA", "FILE"},
    {"subject", 0, 0, G_OPTION_ARG_STRING, &subject, "of the server's certificate", "SUBJECT"},
    {"box", 0, 0, G_OPTION_ARG_STRING, &box_text, "what a key paints", "X,Y,W,H"},
    {"keys", 0, 0, G_OPTION_ARG_INT, &keys, "how many", "N"},
    {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
};

static GMainLoop *loop;
static SpiceInputsChannel *inputs;
static SpiceChannel *display;
static int box_x, box_y, box_w, box_h;
static GArray *taken; /* ms, of each press */
static gint64 pressed, began;
static gulong began_bytes;
static guint lost_timer;
static gint pressed_count, lost_count, drawings;
static gboolean waiting, started, failed;

static gulong bytes_read(void)
{
    gulong bytes = 0;
    g_object_get(display, "total-read-bytes", &bytes, NULL);
    return bytes;
}

static gboolean press(gpointer data);

static void pause_and_press(void)
{
    waiting = FALSE;
    g_timeout_add(PAUSE_MS + (guint)g_random_int_range(0, PAUSE_MORE_MS), press, NULL);
}

static gboolean on_lost(gpointer data)
{
    (void)data;
    lost_timer = 0;
    lost_count++;
    pause_and_press();
    return G_SOURCE_REMOVE;
}

static gboolean press(gpointer data)
{
    static const guint scancodes[] = {0x1e, 0x30, 0x2e, 0x20};
    (void)data;
    if (!began) {
        began = g_get_monotonic_time();
        began_bytes = bytes_read();
        drawings = 0;
    }
    if (pressed_count == keys) {
        g_main_loop_quit(loop);
        return G_SOURCE_REMOVE;
    }
    pressed = g_get_monotonic_time();
    waiting = TRUE;
    spice_inputs_channel_key_press_and_release(
        inputs, scancodes[pressed_count++ % (gint)G_N_ELEMENTS(scancodes)]);
    lost_timer = g_timeout_add(LOST_MS, on_lost, NULL);
    return G_SOURCE_REMOVE;
}

static void on_invalidate(SpiceChannel *channel, gint x, gint y, gint w, gint h)
{
    (void)channel;
    drawings++;
    if (!waiting || w > 4 * box_w || x + w <= box_x || x >= box_x + box_w || y + h <= box_y ||
        y >= box_y + box_h)
        return;
    double ms = (double)(g_get_monotonic_time() - pressed) / 1e3;
    g_array_append_val(taken, ms);
    g_source_remove(lost_timer);
    pause_and_press();
}

static void on_mark(SpiceChannel *channel, gint mark)
{
    (void)channel;
    if (mark && !started) {
        started = TRUE;
        g_timeout_add(WARMUP_MS, press, NULL);
    }
}

static void on_event(SpiceChannel *channel, SpiceChannelEvent event)
{
    if (event == SPICE_CHANNEL_OPENED || event == SPICE_CHANNEL_NONE)
        return;
    const GError *error = spice_channel_get_error(channel);
    fprintf(stderr, "channel event %d: %s\n", (int)event, error ? error->message : "");
    failed = TRUE;
    g_main_loop_quit(loop);
}

static void on_channel(SpiceSession *session, SpiceChannel *channel)
{
    (void)session;
    g_signal_connect(channel, "channel-event", G_CALLBACK(on_event), NULL);
    if (SPICE_IS_INPUTS_CHANNEL(channel))
        inputs = SPICE_INPUTS_CHANNEL(channel);
    if (SPICE_IS_DISPLAY_CHANNEL(channel)) {
        display = channel;
        g_signal_connect(channel, "display-mark", G_CALLBACK(on_mark), NULL);
        g_signal_connect(channel, "display-invalidate", G_CALLBACK(on_invalidate), NULL);
    }
    if (!SPICE_IS_MAIN_CHANNEL(channel)) /* that one connects by itself */
        spice_channel_connect(channel);
}

static gboolean on_late(gpointer data)
{
    (void)data;
    fprintf(stderr, "not done in time\n");
    failed = TRUE;
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static int by_size(gconstpointer a, gconstpointer b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double part(double share)
{
    guint at = (guint)(share * taken->len);
    return g_array_index(taken, double, at < taken->len ? at : taken->len - 1);
}

static void print_result(void)
{
    double seconds = (double)(g_get_monotonic_time() - began) / 1e6;
    g_array_sort(taken, by_size);
    printf("{\"keys\": %d, \"lost\": %d, \"p50\": %.1f, \"p95\": %.1f, \"max\": %.1f, "
           "\"mbit\": %.2f, \"drawings\": %.1f}\n",
           pressed_count, lost_count, part(0.5), part(0.95), part(1),
           (double)(bytes_read() - began_bytes) * 8e-6 / seconds, (double)drawings / seconds);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || !host || !box_text ||
        sscanf(box_text, "%d,%d,%d,%d", &box_x, &box_y, &box_w, &box_h) != 4) {
        fprintf(stderr, "%s\n", error ? error->message : "--host and --box are needed");
        return 2;
    }
    taken = g_array_new(FALSE, FALSE, sizeof(double));
    SpiceSession *session = spice_session_new();
    g_object_set(session, "host", host, "port", port, "tls-port", tls_port, "password", password,
                 "ca-file", ca_file, "cert-subject", subject, "enable-audio", FALSE,
                 "enable-usbredir", FALSE, "enable-smartcard", FALSE, NULL);
    g_signal_connect(session, "channel-new", G_CALLBACK(on_channel), NULL);
    loop = g_main_loop_new(NULL, FALSE);
    g_timeout_add_seconds((guint)(30 + keys * 6), on_late, NULL);
    if (!spice_session_connect(session))
        return 1;
    g_main_loop_run(loop);
    if (failed || taken->len == 0)
        return 1;
    print_result();
    return 0;
}
