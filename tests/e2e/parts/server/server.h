/*
 * A hypervisor without a virtual machine, for tests: a real libspice-server with fake devices
 * behind it. One program can hold many servers, each with its own ports.
 *
 * main.c reads the arguments, core.c lends libspice-server the main loop, display.c and card.c are
 * the fake graphics card with keyboard and tablet, sound.c both directions of sound, ports.c the
 * character devices (echo, agent, smartcard), webdav.c the guest's side of folder sharing.
 *
 * Threads: libspice-server calls the graphics card's functions from its display worker (one a
 * card) and everything else from the main thread.
 */
#ifndef KB_E2E_SERVER_H
#define KB_E2E_SERVER_H

#include <glib.h>
#include <spice.h>
#include <stdbool.h>
#include <stdint.h>

enum { DISPLAYS_MAX = 4, PORTS_MAX = 8 };

struct server_options {
    char *address;   /* listen address, or a path with `unix_socket` */
    int port;        /* 0: none; server i of many takes port + i */
    int tls_port;    /* 0: none; server i of many takes tls_port + i */
    char *x509_dir;  /* ca-cert.pem, server-cert.pem, server-key.pem */
    char *password;  /* NULL: ticketing is off */
    char **secure;   /* channels that are TLS only, for example "main" */
    char **ports;    /* names of echo ports */
    char *compression;
    int displays;
    int width;
    int height;
    int fps; /* 0: the picture only changes on input */
    int count;
    gboolean streams; /* every frame is part of a video stream */
    gboolean cached;  /* frames go into the cache that all display channels of a client share */
    gboolean unix_socket;
    gboolean playback;
    gboolean record;
    gboolean agent;
    gboolean smartcard;
    gboolean webdav;
};

/* A graphics card. `commands` is filled by the main thread and emptied by the worker. */
struct display {
    QXLInstance qxl;
    struct server *server;
    GAsyncQueue *commands;
    uint8_t *memory;
    uint32_t frame;
};

/* What waits to be read by libspice-server, and so by the client. */
struct char_device {
    SpiceCharDeviceInstance spice;
    struct server *server;
    GByteArray *to_client;
    uint64_t received;
};

struct server {
    int index;
    SpiceServer *spice;
    struct display displays[DISPLAYS_MAX];
    int display_count;
    bool cached;
    int width;
    int height;
    SpiceKbdInstance keyboard;
    SpiceTabletInstance tablet;
    unsigned key_count;
    SpicePlaybackInstance playback;
    SpiceRecordInstance record;
    uint32_t playback_position;
    uint64_t recorded_samples;
    uint64_t loud_recorded_samples;
    struct char_device ports[PORTS_MAX];
    int port_count;
    struct char_device agent;
    struct char_device smartcard;
    struct char_device webdav;
    GByteArray *agent_input;     /* chunks from the client, not yet whole */
    GByteArray *agent_message;   /* a message of them, not yet whole */
    GByteArray *webdav_input;    /* frames from the client, not yet whole */
    GByteArray *webdav_response; /* the answer so far */
};

/* The main loop's timers and watches, as libspice-server wants them. */
extern SpiceCoreInterface core_interface;

/* A fake card with one memory slot that says what any says; the caller adds the three functions
 * about its commands, and keeps it as long as the server. */
QXLInterface card_interface(const char *description);

/* Each adds devices to a server that has been initialised and not yet started. */
void display_add(struct server *server, const struct server_options *options);
void display_add_input(struct server *server);
void sound_add_playback(struct server *server);
void sound_add_record(struct server *server);
void ports_add_echo(struct server *server, const char *name);
void agent_add(struct server *server);
void ports_add_smartcard(struct server *server);
void webdav_add(struct server *server);

/* Makes `device` a character device of the server: `subtype` as libspice-server names them,
 * `name` for ports, else NULL. Both must outlive the server. */
void ports_add(struct server *server, struct char_device *device,
               const SpiceCharDeviceInterface *interface, const char *subtype, const char *name);

/* Queues bytes for the client. */
void ports_send(struct char_device *device, const void *bytes, size_t size);

/* The read function of a device that only gives what ports_send() queued. */
int ports_read(SpiceCharDeviceInstance *spice, uint8_t *buffer, int size);

/* The state and event functions of every device: they report. */
void ports_state(SpiceCharDeviceInstance *spice, int connected);
void ports_event(SpiceCharDeviceInstance *spice, uint8_t event);

/* Makes the agent send a message; its body as hex digits. False if that is no message. */
bool agent_say(struct server *server, const char *type, const char *hex);

/* Asks the client's shared folder for "PATH" or by "METHOD PATH", the latter with a body of five
 * bytes; the answer becomes a "webdav" event. */
void webdav_ask(struct server *server, const char *what);

#endif
