/* A hypervisor whose screen never rests: a real libspice-server with a fake graphics card that draws
 * as QEMU does for a guest without a QXL driver (ui/spice-display.c): every 30 ms a new list of
 * updates, and only when the last one has been taken; what changed goes as columns 32 pixels wide.
 * An area of waves moves 30 times a second; --noise is how many low bits of its colours are noise,
 * which is what no compression makes smaller (-1: nothing moves). A key press paints the box in the
 * next colour, behind what else changed.
 *
 * Commands are made in the main thread; libspice-server's worker takes them from a queue and gives
 * each back. Says "ready" on stdout.
 *
 *   wan_server --address A (--port N | --tls-port N --x509-dir DIR) --password TICKET --noise BITS */
#include "../tests/e2e/parts/report.h"
#include "../tests/e2e/parts/server/server.h"

#include <math.h>
#include <signal.h>
#include <spice/enums.h>
#include <spice/macros.h>
#include <string.h>

enum {
    WIDTH = 1024,
    HEIGHT = 768,
    BOX_X = 864, /* bench/runs/wan.py knows it too */
    BOX_Y = 640,
    BOX = 96,
    AREA_W = 640,
    AREA_H = 480,
    COLUMN = 32,
    REFRESH_MS = 30,
    FRAMES_A_SECOND = 30,
};

struct card {
    QXLInstance qxl;
    SpiceKbdInstance keyboard;
    GAsyncQueue *commands;
    uint32_t images; /* made so far: each has an id of its own */
    uint8_t waves[256];
    uint64_t noise;
    gint64 began, frame;
    unsigned keys;
    bool pressed;
};

/* One command with all it points to. */
struct command {
    QXLCommandExt ext;
    QXLDrawable drawable;
    QXLImage image;
    uint32_t pixels[];
};

static char *address, *password, *x509_dir;
static gint port, tls_port, noise_bits = 8;
static const GOptionEntry entries[] = {
    {"address", 0, 0, G_OPTION_ARG_STRING, &address, "listen there", "ADDRESS"},
    {"port", 0, 0, G_OPTION_ARG_INT, &port, "port in clear", "N"},
    {"tls-port", 0, 0, G_OPTION_ARG_INT, &tls_port, "TLS port", "N"},
    {"x509-dir", 0, 0, G_OPTION_ARG_FILENAME, &x509_dir, "certificates", "DIR"},
    {"password", 0, 0, G_OPTION_ARG_STRING, &password, "ticket", "TEXT"},
    {"noise", 0, 0, G_OPTION_ARG_INT, &noise_bits, "bits of noise in a colour, -1: no motion", "N"},
    {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
};

static struct card *from_qxl(QXLInstance *qxl)
{
    return SPICE_CONTAINEROF(qxl, struct card, qxl);
}

/* A copy of pixels that the caller fills before it pushes. */
static struct command *make_copy(struct card *card, int w, int h)
{
    struct command *c = g_malloc0(sizeof(*c) + (size_t)w * (size_t)h * sizeof(*c->pixels));
    QXLImage *image = &c->image;

    QXL_SET_IMAGE_ID(image, QXL_IMAGE_GROUP_DEVICE, ++card->images);
    image->descriptor.type = SPICE_IMAGE_TYPE_BITMAP;
    image->descriptor.width = (uint32_t)w;
    image->descriptor.height = (uint32_t)h;
    image->bitmap.flags = QXL_BITMAP_DIRECT | QXL_BITMAP_TOP_DOWN;
    image->bitmap.format = SPICE_BITMAP_FMT_32BIT;
    image->bitmap.x = (uint32_t)w;
    image->bitmap.y = (uint32_t)h;
    image->bitmap.stride = (uint32_t)w * 4;
    image->bitmap.data = (uintptr_t)c->pixels;
    c->drawable.type = QXL_DRAW_COPY;
    c->drawable.u.copy.src_bitmap = (uintptr_t)image;
    c->drawable.u.copy.src_area = (QXLRect){.right = w, .bottom = h};
    c->drawable.u.copy.rop_descriptor = SPICE_ROPD_OP_PUT;
    return c;
}

static void push(struct card *card, struct command *c, int x, int y)
{
    QXLDrawable *d = &c->drawable;
    int w = (int)c->image.descriptor.width, h = (int)c->image.descriptor.height;

    d->bbox = (QXLRect){.left = x, .top = y, .right = x + w, .bottom = y + h};
    d->clip.type = SPICE_CLIP_TYPE_NONE;
    d->effect = QXL_EFFECT_OPAQUE;
    d->release_info.id = (uintptr_t)c;
    for (size_t i = 0; i < G_N_ELEMENTS(d->surfaces_dest); i++) {
        d->surfaces_dest[i] = -1;
    }
    c->ext.cmd.type = QXL_CMD_DRAW;
    c->ext.cmd.data = (uintptr_t)d;
    g_async_queue_push(card->commands, c);
}

static uint32_t next_noise(struct card *card)
{
    card->noise ^= card->noise << 13;
    card->noise ^= card->noise >> 7;
    card->noise ^= card->noise << 17;
    return (uint32_t)(card->noise >> 16);
}

static void draw_column(struct card *card, int left)
{
    struct command *c = make_copy(card, COLUMN, AREA_H);
    uint32_t mask = (1u << noise_bits) - 1;
    uint8_t frame = (uint8_t)card->frame;
    uint32_t *out = c->pixels;

    mask |= mask << 8 | mask << 16;
    for (int y = 0; y < AREA_H; y++) {
        for (int x = left; x < left + COLUMN; x++) {
            uint32_t a = card->waves[(uint8_t)(x / 2 + frame)],
                     b = card->waves[(uint8_t)(y / 2 + 2 * frame)],
                     d = card->waves[(uint8_t)((x + y) / 3 + frame)];
            uint32_t rgb = (a + b) / 2 << 16 | (b + d) / 2 << 8 | (a + d) / 2;
            *out++ = (rgb & ~mask) | (next_noise(card) & mask);
        }
    }
    push(card, c, left, 0);
}

static void draw_box(struct card *card)
{
    static const uint32_t colours[] = {0xff0000, 0x00ff00, 0xffff00, 0xff00ff};
    struct command *c = make_copy(card, BOX, BOX);

    for (int i = 0; i < BOX * BOX; i++) {
        c->pixels[i] = colours[card->keys % G_N_ELEMENTS(colours)];
    }
    push(card, c, BOX_X, BOX_Y);
}

static gboolean refresh(gpointer data)
{
    struct card *card = data;
    gint64 frame = (g_get_monotonic_time() - card->began) * FRAMES_A_SECOND / G_USEC_PER_SEC;

    if (g_async_queue_length(card->commands) <= 0) {
        if (noise_bits >= 0 && frame != card->frame) {
            card->frame = frame;
            for (int left = 0; left < AREA_W; left += COLUMN) {
                draw_column(card, left);
            }
        }
        if (card->pressed) {
            card->pressed = false;
            draw_box(card);
        }
    }
    spice_qxl_wakeup(&card->qxl);
    return G_SOURCE_CONTINUE;
}

/* ---- what libspice-server asks of a card and a keyboard ---- */

static int get_command(QXLInstance *qxl, QXLCommandExt *ext)
{
    struct command *c = g_async_queue_try_pop(from_qxl(qxl)->commands);

    if (c != NULL) {
        *ext = c->ext;
    }
    return c != NULL;
}

/* Must say 1 only when nothing waits, or the worker sleeps over a command. */
static int notify_command(QXLInstance *qxl)
{
    return g_async_queue_length(from_qxl(qxl)->commands) <= 0;
}

static void release(QXLInstance *qxl, QXLReleaseInfoExt info)
{
    (void)qxl;
    g_free((void *)(uintptr_t)info.info->id);
}

static void push_key(SpiceKbdInstance *keyboard, uint8_t scancode)
{
    struct card *card = SPICE_CONTAINEROF(keyboard, struct card, keyboard);

    if (!(scancode & 0x80)) {
        card->keys++;
        card->pressed = true;
    }
}

static uint8_t get_leds(SpiceKbdInstance *keyboard)
{
    (void)keyboard;
    return 0;
}

static const SpiceKbdInterface keyboard_interface = {
    .base =
        {
            .type = SPICE_INTERFACE_KEYBOARD,
            .description = "keyboard",
            .major_version = SPICE_INTERFACE_KEYBOARD_MAJOR,
            .minor_version = SPICE_INTERFACE_KEYBOARD_MINOR,
        },
    .push_scan_freg = push_key,
    .get_leds = get_leds,
};

/* ---- the beginning ---- */

static SpiceServer *start_spice(void)
{
    SpiceServer *spice = spice_server_new();

    spice_server_set_addr(spice, address, 0);
    spice_server_set_ticket(spice, password, 0, 0, 0);
    spice_server_set_streaming_video(spice, SPICE_STREAM_VIDEO_OFF); /* as QEMU's default is */
    spice_server_set_jpeg_compression(spice, SPICE_WAN_COMPRESSION_AUTO);
    spice_server_set_zlib_glz_compression(spice, SPICE_WAN_COMPRESSION_AUTO);
    spice_server_set_image_compression(spice, SPICE_IMAGE_COMPRESSION_AUTO_GLZ);
    if (port) {
        spice_server_set_port(spice, port);
    }
    if (tls_port) {
        g_autofree char *ca = g_build_filename(x509_dir, "ca-cert.pem", NULL);
        g_autofree char *certificate = g_build_filename(x509_dir, "server-cert.pem", NULL);
        g_autofree char *key = g_build_filename(x509_dir, "server-key.pem", NULL);
        spice_server_set_tls(spice, tls_port, ca, certificate, key, NULL, NULL, NULL);
    }
    return spice_server_init(spice, &core_interface) == 0 ? spice : NULL;
}

static void plug_in(SpiceServer *spice, struct card *card)
{
    card->commands = g_async_queue_new();
    card->noise = 88172645463325252;
    for (size_t i = 0; i < G_N_ELEMENTS(card->waves); i++) {
        card->waves[i] = (uint8_t)(128 + 100 * sin((double)i * 2 * G_PI / 256));
    }
    static QXLInterface interface;
    interface = card_interface("a card that never rests");
    interface.get_command = get_command;
    interface.req_cmd_notification = notify_command;
    interface.release_resource = release;
    card->qxl.base.sif = &interface.base;
    spice_server_add_interface(spice, &card->qxl.base);
    card->keyboard.base.sif = &keyboard_interface.base;
    spice_server_add_interface(spice, &card->keyboard.base);

    /* One slot that spans all memory: guest addresses are our own pointers. */
    QXLDevMemSlot slot = {.virt_end = ~(uintptr_t)0, .qxl_ram_size = ~0u};
    spice_qxl_add_memslot(&card->qxl, &slot);
    QXLDevSurfaceCreate surface = {
        .width = WIDTH,
        .height = HEIGHT,
        .stride = -WIDTH * 4,
        .format = SPICE_SURFACE_FMT_32_xRGB,
        .mouse_mode = TRUE,
        .mem = (uintptr_t)g_malloc0_n((size_t)WIDTH * HEIGHT, 4),
    };
    spice_qxl_create_primary_surface(&card->qxl, 0, &surface);
    spice_server_vm_start(spice);
    card->began = g_get_monotonic_time();
    g_timeout_add_full(G_PRIORITY_HIGH, REFRESH_MS, refresh, card, NULL);
}

int main(int argc, char **argv)
{
    static struct card card;
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- a screen that never rests");

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || !address || !password ||
        (!port && !(tls_port && x509_dir)) || noise_bits > 8) {
        fprintf(stderr, "%s\n", error ? error->message : "see the head of wan_server.c");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    report_init();
    SpiceServer *spice = start_spice();
    if (!spice) {
        fprintf(stderr, "cannot listen\n");
        return 1;
    }
    plug_in(spice, &card);
    report("ready", "{s:i}", "noise", noise_bits);
    g_main_loop_run(g_main_loop_new(NULL, FALSE));
    return 0;
}
