/*
 * The client's ear: one command a line on stdin, each answered by exactly one "done" or
 * "refused" event (work that goes on after that reports by its own events).
 *
 *   key SCANCODE              press and release
 *   mouse move DX DY | mouse position X Y DISPLAY | mouse click BUTTON
 *   port NAME TEXT            write TEXT (with \n, \r, \\ escapes) to the port of that name
 *   screenshot DISPLAY PATH   write the display's primary surface as a PPM file
 *   close TYPE ID | connect TYPE ID   one channel alone, while the session lives
 *   clipboard-offer SELECTION TYPE TEXT | clipboard-ask SELECTION TYPE
 *   send-file PATH            to the guest, through the agent
 *   resize WIDTH HEIGHT       tell the guest the size of the first display's window
 *   usb-cd PATH               emulate a USB CD drive and redirect it
 *   stats                     a "stats" event with every channel's counters
 *   disconnect                end the session in good order, and the program
 */

#include "client.h"

#include "../report.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* NULL: done. Otherwise why not. */
typedef const char *(*command_fn)(struct client *client, char **words);

struct command {
    const char *name;
    int arguments; /* at least that many; the last one takes the rest of the line */
    command_fn run;
};

static bool parse_int(const char *text, int *value)
{
    char *end = NULL;

    errno = 0;
    long parsed = strtol(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0' || parsed < G_MININT || parsed > G_MAXINT) {
        return false;
    }
    *value = (int)parsed;
    return true;
}

static SpiceInputsChannel *find_inputs(struct client *client)
{
    struct channel *channel = channels_find(client, SPICE_CHANNEL_INPUTS, 0);
    return channel != NULL ? SPICE_INPUTS_CHANNEL(channel->spice) : NULL;
}

static const char *run_key(struct client *client, char **words)
{
    SpiceInputsChannel *inputs = find_inputs(client);
    int scancode = 0;

    if (inputs == NULL) {
        return "no inputs channel";
    }
    if (!parse_int(words[1], &scancode) || scancode <= 0) {
        return "not a scancode";
    }
    spice_inputs_channel_key_press_and_release(inputs, (guint)scancode);
    return NULL;
}

static const char *run_mouse(struct client *client, char **words)
{
    SpiceInputsChannel *inputs = find_inputs(client);
    g_auto(GStrv) parts = g_strsplit(words[1], " ", 4);
    int numbers[3] = {0};

    if (inputs == NULL) {
        return "no inputs channel";
    }
    for (guint i = 1; i < g_strv_length(parts); i++) {
        if (!parse_int(parts[i], &numbers[i - 1])) {
            return "not a number";
        }
    }
    if (g_strcmp0(parts[0], "move") == 0) {
        spice_inputs_channel_motion(inputs, numbers[0], numbers[1], 0);
    } else if (g_strcmp0(parts[0], "position") == 0) {
        spice_inputs_channel_position(inputs, numbers[0], numbers[1], numbers[2], 0);
    } else if (g_strcmp0(parts[0], "click") == 0 && numbers[0] >= 1 && numbers[0] <= 5) {
        spice_inputs_channel_button_press(inputs, numbers[0], 1 << (numbers[0] - 1));
        spice_inputs_channel_button_release(inputs, numbers[0], 0);
    } else {
        return "move DX DY, position X Y DISPLAY or click BUTTON";
    }
    return NULL;
}

static void on_port_written(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;
    gssize size =
        spice_port_channel_write_finish(SPICE_PORT_CHANNEL(source), result, &error);

    report("port_written", "{s:I s:s}", "size", (json_int_t)size, "reason",
           error != NULL ? error->message : "");
    g_free(data); /* the text, alive for as long as spice-gtk was writing it */
}

static const char *run_port(struct client *client, char **words)
{
    struct channel *port = channels_find_port(client, words[1]);

    if (port == NULL) {
        return "no open port of that name";
    }
    char *text = g_strcompress(words[2]);
    spice_port_channel_write_async(SPICE_PORT_CHANNEL(port->spice), text, strlen(text), NULL,
                                   on_port_written, text);
    return NULL;
}

static bool write_ppm(FILE *file, const SpiceDisplayPrimary *primary)
{
    g_autofree guint8 *line = g_malloc((gsize)primary->width * 3);

    fprintf(file, "P6\n%d %d\n255\n", primary->width, primary->height);
    for (int y = 0; y < primary->height; y++) {
        const guint8 *row = primary->data + (ptrdiff_t)y * primary->stride;
        for (int x = 0; x < primary->width; x++) {
            line[3 * x] = row[4 * x + 2];
            line[3 * x + 1] = row[4 * x + 1];
            line[3 * x + 2] = row[4 * x];
        }
        if (fwrite(line, 3, (size_t)primary->width, file) != (size_t)primary->width) {
            return false;
        }
    }
    return true;
}

static const char *run_screenshot(struct client *client, char **words)
{
    SpiceDisplayPrimary primary;
    int display = 0;

    if (!parse_int(words[1], &display)) {
        return "not a display's number";
    }
    struct channel *channel = channels_find(client, SPICE_CHANNEL_DISPLAY, display);
    if (channel == NULL || !spice_display_channel_get_primary(channel->spice, 0, &primary)) {
        return "no picture on that display";
    }
    if (primary.format != SPICE_SURFACE_FMT_32_xRGB &&
        primary.format != SPICE_SURFACE_FMT_32_ARGB) {
        return "a pixel format that is not 32 bits";
    }
    FILE *file = fopen(words[2], "wb");
    if (file == NULL) {
        return "the file cannot be written";
    }
    bool written = write_ppm(file, &primary);
    bool closed = fclose(file) == 0;
    return written && closed ? NULL : "the file cannot be written";
}

static const char *run_close(struct client *client, char **words)
{
    int id = 0;

    if (!parse_int(words[2], &id)) {
        return "not a channel's id";
    }
    return channels_close(client, words[1], id) ? NULL : "no such channel is open";
}

static const char *run_connect(struct client *client, char **words)
{
    int id = 0;

    if (!parse_int(words[2], &id)) {
        return "not a channel's id";
    }
    return channels_connect(client, words[1], id) ? NULL : "no such channel was closed";
}

static const char *run_usb_cd(struct client *client, char **words)
{
    redirect_share_cd(client, words[1]);
    return NULL;
}

static const char *run_clipboard_offer(struct client *client, char **words)
{
    int selection = 0, type = 0;

    if (!parse_int(words[1], &selection) || !parse_int(words[2], &type)) {
        return "not a number";
    }
    return clipboard_offer(client, (guint)selection, (guint)type, words[3]);
}

static const char *run_clipboard_ask(struct client *client, char **words)
{
    int selection = 0, type = 0;

    if (!parse_int(words[1], &selection) || !parse_int(words[2], &type)) {
        return "not a number";
    }
    return clipboard_ask(client, (guint)selection, (guint)type);
}

static const char *run_send_file(struct client *client, char **words)
{
    return clipboard_send_file(client, words[1]);
}

static const char *run_resize(struct client *client, char **words)
{
    struct channel *channel = channels_find(client, SPICE_CHANNEL_MAIN, 0);
    int width = 0, height = 0;

    if (channel == NULL) {
        return "no main channel";
    }
    if (!parse_int(words[1], &width) || !parse_int(words[2], &height)) {
        return "not a number";
    }
    SpiceMainChannel *main = SPICE_MAIN_CHANNEL(channel->spice);
    spice_main_channel_update_display_enabled(main, 0, TRUE, FALSE);
    spice_main_channel_update_display(main, 0, 0, 0, width, height, FALSE);
    return spice_main_channel_send_monitor_config(main) ? NULL : "there is no agent";
}

static const char *run_stats(struct client *client, char **words)
{
    json_t *list = json_array();
    (void)words;

    for (guint i = 0; i < client->channels->len; i++) {
        struct channel *channel = g_ptr_array_index(client->channels, i);
        gulong read_bytes = 0;
        g_object_get(channel->spice, "total-read-bytes", &read_bytes, NULL);
        json_array_append_new(
            list, json_pack("{s:s s:i s:b s:I s:I s:I s:I s:s?}", "type",
                            spice_channel_type_to_string(channel->type), "id", channel->id, "open",
                            channel->open, "read_bytes", (json_int_t)read_bytes, "payload_bytes",
                            (json_int_t)channel->payload_bytes, "loud_samples",
                            (json_int_t)channel->loud_samples, "invalidates",
                            (json_int_t)channel->invalidates, "port_name", channel->port_name));
    }
    report("stats", "{s:o}", "channels", list);
    return NULL;
}

static gboolean quit_loop(gpointer data)
{
    struct client *client = data;
    g_main_loop_quit(client->loop);
    return G_SOURCE_REMOVE;
}

static const char *run_disconnect(struct client *client, char **words)
{
    (void)words;
    spice_session_disconnect(client->session);
    /* spice-gtk takes its channels apart in idle callbacks: leave after them. */
    g_idle_add_full(G_PRIORITY_LOW, quit_loop, client, NULL);
    return NULL;
}

static const struct command commands[] = {
    {"key", 1, run_key},
    {"mouse", 1, run_mouse},
    {"port", 2, run_port},
    {"screenshot", 2, run_screenshot},
    {"close", 2, run_close},
    {"connect", 2, run_connect},
    {"clipboard-offer", 3, run_clipboard_offer},
    {"clipboard-ask", 2, run_clipboard_ask},
    {"send-file", 1, run_send_file},
    {"usb-cd", 1, run_usb_cd},
    {"resize", 2, run_resize},
    {"stats", 0, run_stats},
    {"disconnect", 0, run_disconnect},
};

static void obey(struct client *client, const char *line)
{
    const char *reason = "no such command";

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_auto(GStrv) words = g_strsplit(line, " ", commands[i].arguments + 1);
        if (g_strcmp0(words[0], commands[i].name) != 0) {
            continue;
        }
        reason = g_strv_length(words) == (guint)commands[i].arguments + 1
                     ? commands[i].run(client, words)
                     : "arguments are missing";
        break;
    }
    if (reason == NULL) {
        report("done", "{s:s}", "command", line);
    } else {
        report("refused", "{s:s s:s}", "command", line, "reason", reason);
    }
}

static gboolean on_stdin(GIOChannel *input, GIOCondition condition, gpointer data)
{
    struct client *client = data;
    g_autofree char *line = NULL;
    gsize end = 0;
    (void)condition;

    if (g_io_channel_read_line(input, &line, NULL, &end, NULL) != G_IO_STATUS_NORMAL) {
        quit_loop(client); /* whoever gave the commands is gone */
        return G_SOURCE_REMOVE;
    }
    line[end] = '\0';
    obey(client, line);
    return G_SOURCE_CONTINUE;
}

void commands_watch(struct client *client)
{
    GIOChannel *input = g_io_channel_unix_new(STDIN_FILENO);

    g_io_channel_set_encoding(input, NULL, NULL);
    g_io_add_watch(input, G_IO_IN | G_IO_HUP, on_stdin, client);
    g_io_channel_unref(input);
}
