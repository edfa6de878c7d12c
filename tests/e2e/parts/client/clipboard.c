/*
 * Clipboard and files: what the server's side does is reported, what the commands say is done.
 */

#include "client.h"

#include "../report.h"

#include <string.h>

static void on_grab(SpiceMainChannel *main, guint selection, gpointer types, guint count,
                    gpointer data)
{
    const guint32 *list = types;
    json_t *array = json_array();
    (void)main;
    (void)data;

    for (guint i = 0; i < count; i++) {
        json_array_append_new(array, json_integer((json_int_t)list[i]));
    }
    report("clipboard_grab", "{s:i s:o}", "selection", (int)selection, "types", array);
}

static void on_data(SpiceMainChannel *main, guint selection, guint type, gpointer bytes,
                    guint size, gpointer data)
{
    (void)main;
    (void)data;
    report("clipboard", "{s:i s:i s:i s:o}", "selection", (int)selection, "type", (int)type,
           "size", (int)size, "text", report_text(bytes, MIN(size, 200)));
}

/* Everything that the guest asks for is the same text, if there is one. */
static gboolean on_request(SpiceMainChannel *main, guint selection, guint type, gpointer data)
{
    struct client *client = data;
    const char *text = client->clipboard != NULL ? client->clipboard : "";

    report("clipboard_request", "{s:i s:i}", "selection", (int)selection, "type", (int)type);
    spice_main_channel_clipboard_selection_notify(main, selection, type, (const guchar *)text,
                                                  strlen(text));
    return TRUE;
}

static void on_release(SpiceMainChannel *main, guint selection, gpointer data)
{
    (void)main;
    (void)data;
    report("clipboard_release", "{s:i}", "selection", (int)selection);
}

void clipboard_watch(struct client *client, SpiceMainChannel *main)
{
    g_signal_connect(main, "main-clipboard-selection-grab", G_CALLBACK(on_grab), client);
    g_signal_connect(main, "main-clipboard-selection", G_CALLBACK(on_data), client);
    g_signal_connect(main, "main-clipboard-selection-request", G_CALLBACK(on_request), client);
    g_signal_connect(main, "main-clipboard-selection-release", G_CALLBACK(on_release), client);
}

static SpiceMainChannel *find_main(struct client *client)
{
    struct channel *channel = channels_find(client, SPICE_CHANNEL_MAIN, 0);
    return channel != NULL ? SPICE_MAIN_CHANNEL(channel->spice) : NULL;
}

const char *clipboard_offer(struct client *client, guint selection, guint type, const char *text)
{
    SpiceMainChannel *main = find_main(client);
    guint32 types[] = {type};

    if (main == NULL) {
        return "no main channel";
    }
    g_free(client->clipboard);
    client->clipboard = g_strdup(text);
    spice_main_channel_clipboard_selection_grab(main, selection, types, 1);
    return NULL;
}

const char *clipboard_ask(struct client *client, guint selection, guint type)
{
    SpiceMainChannel *main = find_main(client);

    if (main == NULL) {
        return "no main channel";
    }
    spice_main_channel_clipboard_selection_request(main, selection, type);
    return NULL;
}

static void on_sent(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;
    gboolean sent =
        spice_main_channel_file_copy_finish(SPICE_MAIN_CHANNEL(source), result, &error);
    (void)data;

    report("file_sent", "{s:b s:s}", "sent", sent, "reason", error != NULL ? error->message : "");
}

const char *clipboard_send_file(struct client *client, const char *path)
{
    SpiceMainChannel *main = find_main(client);

    if (main == NULL) {
        return "no main channel";
    }
    g_autoptr(GFile) file = g_file_new_for_path(path);
    GFile *files[] = {file, NULL};
    spice_main_channel_file_copy_async(main, files, G_FILE_COPY_NONE, NULL, NULL, NULL, on_sent,
                                       NULL);
    return NULL;
}
