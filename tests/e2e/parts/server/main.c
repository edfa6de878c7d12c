/*
 * Arguments, the servers, and the few commands on stdin:
 *
 *   webdav SERVER PATH     GET that path from the client's shared folder
 *   ticket SERVER SECONDS PASSWORD
 *                          the one password from now on, for so long; a "ticket" event
 *   stats                  a "stats" event with every server's counters
 */

#include "server.h"

#include "../report.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server_options options = {
    .displays = 1,
    .width = 640,
    .height = 480,
    .count = 1,
};

static const GOptionEntry option_entries[] = {
    {"address", 0, 0, G_OPTION_ARG_STRING, &options.address, "listen there", "ADDRESS|PATH"},
    {"unix", 0, 0, G_OPTION_ARG_NONE, &options.unix_socket, "the address is a socket's path", NULL},
    {"port", 0, 0, G_OPTION_ARG_INT, &options.port, "port in clear", "PORT"},
    {"tls-port", 0, 0, G_OPTION_ARG_INT, &options.tls_port, "TLS port", "PORT"},
    {"x509-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.x509_dir, "certificates", "PATH"},
    {"password", 0, 0, G_OPTION_ARG_STRING, &options.password, "ticket (none: any)", "TEXT"},
    {"secure", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.secure, "channel only by TLS", "NAME"},
    {"echo-port", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.ports, "port that echoes", "NAME"},
    {"compression", 0, 0, G_OPTION_ARG_STRING, &options.compression, "image compression",
     "off|quic|glz|lz|lz4|auto_glz"},
    {"displays", 0, 0, G_OPTION_ARG_INT, &options.displays, "graphics cards", "N"},
    {"width", 0, 0, G_OPTION_ARG_INT, &options.width, "of each display", "PIXELS"},
    {"height", 0, 0, G_OPTION_ARG_INT, &options.height, "of each display", "PIXELS"},
    {"fps", 0, 0, G_OPTION_ARG_INT, &options.fps, "frames a second", "N"},
    {"streams", 0, 0, G_OPTION_ARG_NONE, &options.streams, "frames become video streams", NULL},
    {"cached", 0, 0, G_OPTION_ARG_NONE, &options.cached, "clients keep the frames", NULL},
    {"count", 0, 0, G_OPTION_ARG_INT, &options.count, "servers, on consecutive ports", "N"},
    {"playback", 0, 0, G_OPTION_ARG_NONE, &options.playback, "play a tone", NULL},
    {"record", 0, 0, G_OPTION_ARG_NONE, &options.record, "listen to the microphone", NULL},
    {"agent", 0, 0, G_OPTION_ARG_NONE, &options.agent, "have an agent", NULL},
    {"smartcard", 0, 0, G_OPTION_ARG_NONE, &options.smartcard, "have a card reader", NULL},
    {"webdav", 0, 0, G_OPTION_ARG_NONE, &options.webdav, "have a shared folder", NULL},
    {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
};

static struct server **servers;

static SpiceImageCompression compression_by_name(const char *name)
{
    static const struct {
        const char *name;
        SpiceImageCompression value;
    } table[] = {
        {"off", SPICE_IMAGE_COMPRESSION_OFF},
        {"quic", SPICE_IMAGE_COMPRESSION_QUIC},
        {"glz", SPICE_IMAGE_COMPRESSION_GLZ},
        {"lz", SPICE_IMAGE_COMPRESSION_LZ},
        {"lz4", SPICE_IMAGE_COMPRESSION_LZ4},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        if (g_strcmp0(table[i].name, name) == 0) {
            return table[i].value;
        }
    }
    return SPICE_IMAGE_COMPRESSION_AUTO_GLZ;
}

static bool set_addresses(struct server *server)
{
    if (options.unix_socket) {
        spice_server_set_addr(server->spice, options.address, SPICE_ADDR_FLAG_UNIX_ONLY);
        return true;
    }
    spice_server_set_addr(server->spice, options.address != NULL ? options.address : "127.0.0.1",
                          0);
    if (options.port != 0 &&
        spice_server_set_port(server->spice, options.port + server->index) != 0) {
        return false;
    }
    if (options.tls_port == 0) {
        return true;
    }
    g_autofree char *ca = g_build_filename(options.x509_dir, "ca-cert.pem", NULL);
    g_autofree char *certificate = g_build_filename(options.x509_dir, "server-cert.pem", NULL);
    g_autofree char *key = g_build_filename(options.x509_dir, "server-key.pem", NULL);
    return spice_server_set_tls(server->spice, options.tls_port + server->index, ca, certificate,
                                key, NULL, NULL, NULL) == 0;
}

static struct server *start_server(int index)
{
    struct server *server = g_new0(struct server, 1);

    server->index = index;
    server->spice = spice_server_new();
    if (!set_addresses(server)) {
        fprintf(stderr, "server %d: the addresses or certificates cannot be used\n", index);
        return NULL;
    }
    if (options.password != NULL) {
        spice_server_set_ticket(server->spice, options.password, 0, 0, 0);
    } else {
        spice_server_set_noauth(server->spice);
    }
    spice_server_set_image_compression(server->spice, compression_by_name(options.compression));
    if (options.streams || options.cached) {
        spice_server_set_streaming_video(server->spice, options.streams
                                                            ? SPICE_STREAM_VIDEO_ALL
                                                            : SPICE_STREAM_VIDEO_OFF);
    }
    spice_server_set_name(server->spice, "a fake hypervisor");
    if (spice_server_init(server->spice, &core_interface) != 0) {
        fprintf(stderr, "server %d: cannot listen\n", index);
        return NULL;
    }
    for (char **name = options.secure; name != NULL && *name != NULL; name++) {
        spice_server_set_channel_security(server->spice, *name, SPICE_CHANNEL_SECURITY_SSL);
    }
    display_add(server, &options);
    display_add_input(server);
    if (options.playback) {
        sound_add_playback(server);
    }
    if (options.record) {
        sound_add_record(server);
    }
    for (char **name = options.ports; name != NULL && *name != NULL; name++) {
        ports_add_echo(server, *name);
    }
    if (options.agent) {
        agent_add(server);
    }
    if (options.smartcard) {
        ports_add_smartcard(server);
    }
    if (options.webdav) {
        webdav_add(server);
    }
    spice_server_vm_start(server->spice);
    return server;
}

static void report_stats(void)
{
    json_t *list = json_array();

    for (int i = 0; i < options.count; i++) {
        struct server *server = servers[i];
        json_t *ports = json_object();
        for (int k = 0; k < server->port_count; k++) {
            json_object_set_new(ports, server->ports[k].spice.portname,
                                json_integer((json_int_t)server->ports[k].received));
        }
        json_array_append_new(
            list, json_pack("{s:i s:i s:I s:I s:I s:I s:I s:o}", "server", i, "keys",
                            (int)server->key_count, "recorded_samples",
                            (json_int_t)server->recorded_samples, "loud_recorded_samples",
                            (json_int_t)server->loud_recorded_samples, "agent_bytes",
                            (json_int_t)server->agent.received, "smartcard_bytes",
                            (json_int_t)server->smartcard.received, "webdav_bytes",
                            (json_int_t)server->webdav.received, "port_bytes", ports));
    }
    report("stats", "{s:o}", "servers", list);
}

static struct server *server_by_text(const char *text)
{
    gint64 index = -1;

    if (text == NULL || !g_ascii_string_to_signed(text, 10, 0, options.count - 1, &index, NULL)) {
        return NULL;
    }
    return servers[index];
}

/* As a cloud does it when it makes a ticket: who is connected stays so. */
static void set_ticket(struct server *server, const char *seconds_and_password)
{
    g_auto(GStrv) words = g_strsplit(seconds_and_password, " ", 2);
    int seconds = (int)g_ascii_strtoll(words[0], NULL, 10);

    spice_server_set_ticket(server->spice, words[1], seconds, 0, 0);
    report("ticket", "{s:i}", "server", server->index);
}

static void obey(const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 3);
    struct server *server = words[0] != NULL ? server_by_text(words[1]) : NULL;

    if (g_strcmp0(words[0], "stats") == 0) {
        report_stats();
    } else if (g_strcmp0(words[0], "webdav") == 0 && server != NULL && words[2] != NULL &&
               options.webdav) {
        webdav_ask(server, words[2]);
    } else if (g_strcmp0(words[0], "ticket") == 0 && server != NULL && words[2] != NULL &&
               strchr(words[2], ' ') != NULL) {
        set_ticket(server, words[2]);
    } else if (g_strcmp0(words[0], "agent") == 0 && server != NULL && words[2] != NULL &&
               options.agent) {
        g_auto(GStrv) message = g_strsplit(words[2], " ", 2);
        if (!agent_say(server, message[0], message[1] != NULL ? message[1] : "")) {
            report("refused", "{s:s}", "command", line);
        }
    } else {
        report("refused", "{s:s}", "command", line);
    }
}

static gboolean on_stdin(GIOChannel *input, GIOCondition condition, gpointer data)
{
    g_autofree char *line = NULL;
    gsize end = 0;
    (void)condition;

    if (g_io_channel_read_line(input, &line, NULL, &end, NULL) != G_IO_STATUS_NORMAL) {
        g_main_loop_quit(data); /* whoever gave the commands is gone */
        return G_SOURCE_REMOVE;
    }
    line[end] = '\0';
    obey(line);
    return G_SOURCE_CONTINUE;
}

static bool check_options(void)
{
    if (options.port == 0 && options.tls_port == 0 && !options.unix_socket) {
        fprintf(stderr, "no port: give --port, --tls-port or --unix\n");
        return false;
    }
    if (options.tls_port != 0 && options.x509_dir == NULL) {
        fprintf(stderr, "--tls-port needs --x509-dir\n");
        return false;
    }
    if (options.displays < 1 || options.displays > DISPLAYS_MAX || options.count < 1 ||
        options.width < 16 || options.height < 16 || options.fps < 0 || options.fps > 1000) {
        fprintf(stderr, "a number is out of range\n");
        return false;
    }
    if (options.ports != NULL && g_strv_length(options.ports) > PORTS_MAX) {
        fprintf(stderr, "at most %d echo ports\n", PORTS_MAX);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- a hypervisor without a machine");

    g_option_context_add_main_entries(context, option_entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    if (!check_options()) {
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    report_init();
    servers = g_new0(struct server *, (gsize)options.count);
    for (int i = 0; i < options.count; i++) {
        servers[i] = start_server(i);
        if (servers[i] == NULL) {
            return 1;
        }
    }
    report("ready", "{s:i}", "servers", options.count);

    GMainLoop *loop = g_main_loop_new(NULL, FALSE);
    GIOChannel *input = g_io_channel_unix_new(STDIN_FILENO);
    g_io_channel_set_encoding(input, NULL, NULL);
    g_io_add_watch(input, G_IO_IN | G_IO_HUP, on_stdin, loop);
    g_main_loop_run(loop);
    return 0;
}
