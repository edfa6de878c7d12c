/*
 * Arguments, .vv files and the main loop of the headless client. A .vv file is read the way
 * virt-viewer does (a GKeyFile with the group [virt-viewer]), so that what kerbside writes is
 * tried by a second reader besides remote-viewer itself.
 */

#include "client.h"

#include "../report.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static struct options {
    char *vv;
    char *host;
    char *port;
    char *tls_port;
    char *unix_path;
    char *password;
    char *ca_file;
    char *host_subject;
    char *proxy;
    char *shared_dir;
    char *smartcard_db;
    char **smartcard_certificates;
    gboolean keep_vv;
    gboolean no_audio;
    gboolean no_usb;
} options;

static const GOptionEntry option_entries[] = {
    {"vv", 0, 0, G_OPTION_ARG_FILENAME, &options.vv, "open this .vv file", "PATH"},
    {"keep-vv", 0, 0, G_OPTION_ARG_NONE, &options.keep_vv,
     "leave the .vv file there even if it says delete-this-file", NULL},
    {"host", 0, 0, G_OPTION_ARG_STRING, &options.host, "server's address", "HOST"},
    {"port", 0, 0, G_OPTION_ARG_STRING, &options.port, "server's port in clear", "PORT"},
    {"tls-port", 0, 0, G_OPTION_ARG_STRING, &options.tls_port, "server's TLS port", "PORT"},
    {"unix", 0, 0, G_OPTION_ARG_FILENAME, &options.unix_path, "server's unix socket", "PATH"},
    {"password", 0, 0, G_OPTION_ARG_STRING, &options.password, "ticket", "TEXT"},
    {"ca-file", 0, 0, G_OPTION_ARG_FILENAME, &options.ca_file, "trusted CA", "PATH"},
    {"host-subject", 0, 0, G_OPTION_ARG_STRING, &options.host_subject,
     "expected subject of the server's certificate", "SUBJECT"},
    {"proxy", 0, 0, G_OPTION_ARG_STRING, &options.proxy, "HTTP proxy", "URL"},
    {"shared-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.shared_dir,
     "folder for the webdav channel", "PATH"},
    {"smartcard-db", 0, 0, G_OPTION_ARG_STRING, &options.smartcard_db,
     "NSS database with card certificates", "sql:PATH"},
    {"smartcard-certificate", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.smartcard_certificates,
     "one of the card's three certificates", "NAME"},
    {"no-audio", 0, 0, G_OPTION_ARG_NONE, &options.no_audio, "no sound channels", NULL},
    {"no-usb", 0, 0, G_OPTION_ARG_NONE, &options.no_usb, "no USB channels", NULL},
    {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
};

static void set_text(SpiceSession *session, const char *property, const char *value)
{
    if (value != NULL && *value != '\0') {
        g_object_set(session, property, value, NULL);
    }
}

/* One key of the .vv file to one property of the session. */
static void set_from_vv(SpiceSession *session, const char *property, GKeyFile *file,
                        const char *key)
{
    g_autofree char *value = g_key_file_get_string(file, "virt-viewer", key, NULL);
    set_text(session, property, value);
}

static void set_flag_from_vv(SpiceSession *session, const char *property, GKeyFile *file,
                             const char *key)
{
    if (g_key_file_has_key(file, "virt-viewer", key, NULL)) {
        gboolean value = g_key_file_get_boolean(file, "virt-viewer", key, NULL);
        g_object_set(session, property, value, NULL);
    }
}

static bool open_vv(SpiceSession *session, const char *path, bool keep)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) error = NULL;

    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &error)) {
        fprintf(stderr, "%s: %s\n", path, error->message);
        return false;
    }
    g_autofree char *type = g_key_file_get_string(file, "virt-viewer", "type", NULL);
    if (g_strcmp0(type, "spice") != 0) {
        fprintf(stderr, "%s: not a SPICE console\n", path);
        return false;
    }
    set_from_vv(session, "host", file, "host");
    set_from_vv(session, "port", file, "port");
    set_from_vv(session, "tls-port", file, "tls-port");
    set_from_vv(session, "password", file, "password");
    set_from_vv(session, "cert-subject", file, "host-subject");
    set_from_vv(session, "proxy", file, "proxy");
    set_flag_from_vv(session, "enable-usbredir", file, "enable-usbredir");
    set_flag_from_vv(session, "enable-smartcard", file, "enable-smartcard");

    g_autofree char *ca = g_key_file_get_string(file, "virt-viewer", "ca", NULL);
    if (ca != NULL) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        g_byte_array_append(bytes, (const guint8 *)ca, (guint)strlen(ca));
        g_object_set(session, "ca", bytes, NULL);
    }
    g_auto(GStrv) secure =
        g_key_file_get_string_list(file, "virt-viewer", "secure-channels", NULL, NULL);
    if (secure != NULL) {
        g_object_set(session, "secure-channels", secure, NULL);
    }
    if (!keep && g_key_file_get_boolean(file, "virt-viewer", "delete-this-file", NULL)) {
        remove(path);
    }
    return true;
}

static void apply_options(SpiceSession *session)
{
    set_text(session, "host", options.host);
    set_text(session, "port", options.port);
    set_text(session, "tls-port", options.tls_port);
    set_text(session, "unix-path", options.unix_path);
    set_text(session, "password", options.password);
    set_text(session, "ca-file", options.ca_file);
    set_text(session, "cert-subject", options.host_subject);
    set_text(session, "proxy", options.proxy);
    set_text(session, "shared-dir", options.shared_dir);
    if (options.smartcard_db != NULL) {
        g_object_set(session, "enable-smartcard", TRUE, "smartcard-db", options.smartcard_db,
                     "smartcard-certificates", options.smartcard_certificates, NULL);
    }
    if (options.no_audio) {
        g_object_set(session, "enable-audio", FALSE, NULL);
    }
    if (options.no_usb) {
        g_object_set(session, "enable-usbredir", FALSE, NULL);
    }
}

/* spice-gtk has no signal for NOTIFY; it says what it got in its debug log, and only there. */
static GLogWriterOutput watch_log(GLogLevelFlags level, const GLogField *fields, gsize count,
                                  gpointer data)
{
    static const char mark[] = "spice_channel_handle_notify -- ";
    for (gsize i = 0; i < count; i++) {
        const char *text = fields[i].value;
        const char *found = g_strcmp0(fields[i].key, "MESSAGE") == 0 ? strstr(text, mark) : NULL;
        if (found != NULL) {
            report("notice", "{s:s}", "text", found + strlen(mark));
        }
    }
    if (level & (G_LOG_LEVEL_DEBUG | G_LOG_LEVEL_INFO)) {
        return G_LOG_WRITER_HANDLED; /* the default would write them among our reports */
    }
    return g_log_writer_default(level, fields, count, data);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- a headless SPICE client");

    g_option_context_add_main_entries(context, option_entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }

    report_init();
    g_log_set_writer_func(watch_log, NULL, NULL);
    spice_util_set_debug(TRUE);
    struct client client = {
        .loop = g_main_loop_new(NULL, FALSE),
        .session = spice_session_new(),
        .channels = g_ptr_array_new(),
    };
    g_object_set(client.session, "enable-audio", TRUE, "enable-usbredir", TRUE, NULL);
    if (options.vv != NULL && !open_vv(client.session, options.vv, options.keep_vv)) {
        return 2;
    }
    apply_options(client.session);

    channels_watch(&client);
    commands_watch(&client);
    if (!options.no_usb) {
        redirect_watch_usb(&client);
    }
    if (options.smartcard_db != NULL) {
        redirect_watch_smartcard(&client);
    }
    if (!spice_session_connect(client.session)) {
        report("refused", "{s:s}", "reason", "the session cannot be opened");
        return 3;
    }
    g_main_loop_run(client.loop);
    report("ended", "{s:i}", "code", client.exit_code);
    return client.exit_code;
}
