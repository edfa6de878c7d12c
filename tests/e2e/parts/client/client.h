/*
 * A headless SPICE client on spice-client-glib, for tests: it opens every channel the server
 * offers, reports what happens as JSON lines and obeys commands from stdin.
 *
 * main.c reads the arguments or a .vv file, channels.c follows the channels, commands.c obeys,
 * redirect.c does USB and smartcards, clipboard.c clipboard and files. All of it runs in the main
 * thread.
 */
#ifndef KB_E2E_CLIENT_H
#define KB_E2E_CLIENT_H

#include <spice-client.h>
#include <stdbool.h>

/* What happened on one channel. Created when spice-gtk announces the channel, and kept after the
 * channel's end so that its counters can still be read. */
struct channel {
    SpiceChannel *spice; /* our own reference */
    int type;
    int id;
    bool open;
    char *port_name;        /* port and webdav: once known, else NULL */
    guint64 payload_bytes;  /* playback samples or port data received */
    guint64 loud_samples;   /* playback: samples that are not silence */
    guint64 invalidates;    /* display: announced changes */
    bool playback_reported; /* the first samples and the first loud sample are events, */
    bool loud_reported;     /* the others only count */
    guint recorder;         /* record: the timer that sends a tone, 0 when stopped */
    guint32 recorder_position;
};

struct client {
    GMainLoop *loop;
    SpiceSession *session;
    GPtrArray *channels; /* of struct channel, in the order of their announcement */
    SpiceUsbDeviceManager *usb;
    char *clipboard; /* what the guest gets when it asks; NULL: nothing */
    int exit_code;
};

/* Follows every channel of the session from now on. Call once, before connecting. */
void channels_watch(struct client *client);

/* Closes a channel alone, while its session lives. False if it is not open. */
bool channels_close(struct client *client, const char *type, int id);

/* Connects a channel that was closed. False if there is none such. */
bool channels_connect(struct client *client, const char *type, int id);

/* The live channel of that type and id, or NULL. */
struct channel *channels_find(struct client *client, int type, int id);

/* The live port or webdav channel of that name, or NULL. */
struct channel *channels_find_port(struct client *client, const char *name);

/* Reads commands from stdin, one a line, until the end of input. Each is answered by a "done"
 * event with the command's first word, or by "refused" with a reason. */
void commands_watch(struct client *client);

/* Follows USB devices. Reports "usb_unavailable" where spice-gtk was built without. */
void redirect_watch_usb(struct client *client);

/* Emulates a USB CD drive with the image at `path` and redirects it. Reports "usb_connected" or
 * "usb_failed". */
void redirect_share_cd(struct client *client, const char *path);

/* Follows the clipboard: "clipboard_grab", "clipboard_request", "clipboard" (data) and
 * "clipboard_release". */
void clipboard_watch(struct client *client, SpiceMainChannel *main);

/* NULL: done. Otherwise why not. A sent file's end is a "file_sent" event. */
const char *clipboard_offer(struct client *client, guint selection, guint type, const char *text);
const char *clipboard_ask(struct client *client, guint selection, guint type);
const char *clipboard_send_file(struct client *client, const char *path);

/* Reports "smartcard_inserted" when a software card of the certificates is in its reader. */
void redirect_watch_smartcard(struct client *client);

#endif
