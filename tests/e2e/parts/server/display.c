/*
 * The fake graphics cards, and the keyboard and tablet whose input shows on them: a key press
 * repaints a box in the next colour, a click paints a white dot. Commands are made in the main
 * thread and handed over through a queue; libspice-server's worker takes them and gives each back
 * through release_resource() when the last client has it.
 */

#include "server.h"

#include "../report.h"

#include <spice/enums.h>
#include <spice/macros.h>
#include <string.h>

enum { FRAMES_WAITING_MAX = 4 };

/* One command with all it points to, so that one free() ends it. */
struct command {
    QXLCommandExt ext;
    QXLDrawable drawable;
    QXLImage image;
    uint8_t *pixels;
};

static void free_command(struct command *command)
{
    g_free(command->pixels);
    g_free(command);
}

static struct display *from_qxl(QXLInstance *qxl)
{
    return SPICE_CONTAINEROF(qxl, struct display, qxl);
}

static void push(struct display *display, struct command *command, int x, int y, int w, int h)
{
    QXLDrawable *drawable = &command->drawable;

    drawable->surface_id = 0;
    drawable->bbox = (QXLRect){.left = x, .top = y, .right = x + w, .bottom = y + h};
    drawable->clip.type = SPICE_CLIP_TYPE_NONE;
    drawable->effect = QXL_EFFECT_OPAQUE;
    drawable->release_info.id = (uintptr_t)command;
    for (size_t i = 0; i < G_N_ELEMENTS(drawable->surfaces_dest); i++) {
        drawable->surfaces_dest[i] = -1;
    }
    command->ext.cmd.type = QXL_CMD_DRAW;
    command->ext.cmd.data = (uintptr_t)drawable;
    g_async_queue_push(display->commands, command);
    spice_qxl_wakeup(&display->qxl);
}

static void fill(struct display *display, int x, int y, int w, int h, uint32_t rgb)
{
    struct command *command = g_new0(struct command, 1);

    command->drawable.type = QXL_DRAW_FILL;
    command->drawable.u.fill.brush.type = SPICE_BRUSH_TYPE_SOLID;
    command->drawable.u.fill.brush.u.color = rgb;
    command->drawable.u.fill.rop_descriptor = SPICE_ROPD_OP_PUT;
    push(display, command, x, y, w, h);
}

/* A full frame of dark noise, which no compression makes small. */
static gboolean draw_frame(gpointer data)
{
    struct display *display = data;
    int width = display->server->width;
    int height = display->server->height;

    if (g_async_queue_length(display->commands) >= FRAMES_WAITING_MAX) {
        return G_SOURCE_CONTINUE; /* the clients are slower than we: skip, as a guest would */
    }
    size_t pixels = (size_t)width * (size_t)height;
    struct command *command = g_new0(struct command, 1);
    uint32_t *out = g_malloc_n(pixels, sizeof(*out));
    uint32_t noise = ++display->frame * 2654435761u;
    for (size_t i = 0; i < pixels; i++) {
        noise = noise * 1664525u + 1013904223u;
        out[i] = (noise >> 8) & 0x3f3f3f;
    }
    command->pixels = (uint8_t *)out;

    QXLImage *image = &command->image;
    /* Cards that share a cache share the ids in it. */
    QXL_SET_IMAGE_ID(image, QXL_IMAGE_GROUP_DEVICE,
                     (uint32_t)display->qxl.id << 24 | (display->frame & 0xffffff));
    image->descriptor.flags = display->server->cached ? QXL_IMAGE_CACHE : 0;
    image->descriptor.type = SPICE_IMAGE_TYPE_BITMAP;
    image->descriptor.width = (uint32_t)width;
    image->descriptor.height = (uint32_t)height;
    image->bitmap.flags = QXL_BITMAP_DIRECT | QXL_BITMAP_TOP_DOWN;
    image->bitmap.format = SPICE_BITMAP_FMT_32BIT;
    image->bitmap.x = (uint32_t)width;
    image->bitmap.y = (uint32_t)height;
    image->bitmap.stride = (uint32_t)width * 4;
    image->bitmap.data = (uintptr_t)command->pixels;

    command->drawable.type = QXL_DRAW_COPY;
    command->drawable.u.copy.src_bitmap = (uintptr_t)image;
    command->drawable.u.copy.src_area = (QXLRect){.right = width, .bottom = height};
    command->drawable.u.copy.rop_descriptor = SPICE_ROPD_OP_PUT;
    push(display, command, 0, 0, width, height);
    return G_SOURCE_CONTINUE;
}

/* ---- what the worker asks of a card ---- */

static int get_command(QXLInstance *qxl, QXLCommandExt *ext)
{
    struct command *command = g_async_queue_try_pop(from_qxl(qxl)->commands);

    if (command == NULL) {
        return 0;
    }
    *ext = command->ext;
    return 1;
}

/* Must say 1 only when nothing waits, or the worker sleeps over a command. */
static int req_cmd_notification(QXLInstance *qxl)
{
    return g_async_queue_length(from_qxl(qxl)->commands) <= 0;
}

static void release_resource(QXLInstance *qxl, QXLReleaseInfoExt release)
{
    (void)qxl;
    free_command((struct command *)(uintptr_t)release.info->id);
}

static void add_one(struct server *server, int id, int fps)
{
    static const uint32_t backgrounds[DISPLAYS_MAX] = {0x203060, 0x502030, 0x305020, 0x404040};
    struct display *display = &server->displays[id];
    static QXLInterface interface;
    int width = server->width;
    int height = server->height;

    interface = card_interface("a fake graphics card");
    interface.get_command = get_command;
    interface.req_cmd_notification = req_cmd_notification;
    interface.release_resource = release_resource;
    display->server = server;
    display->commands = g_async_queue_new();
    display->memory = g_malloc0_n((size_t)width * (size_t)height, 4);
    display->qxl.base.sif = &interface.base;
    display->qxl.id = id;
    spice_server_add_interface(server->spice, &display->qxl.base);

    /* One slot that spans all memory: guest addresses are our own pointers. */
    QXLDevMemSlot slot = {.virt_end = ~(uintptr_t)0, .qxl_ram_size = ~0u};
    spice_qxl_add_memslot(&display->qxl, &slot);
    QXLDevSurfaceCreate surface = {
        .width = (uint32_t)width,
        .height = (uint32_t)height,
        .stride = -width * 4,
        .format = SPICE_SURFACE_FMT_32_xRGB,
        .mouse_mode = TRUE,
        .mem = (uintptr_t)display->memory,
    };
    spice_qxl_create_primary_surface(&display->qxl, 0, &surface);
    fill(display, 0, 0, width, height, backgrounds[id]);
    fill(display, width / 4, height / 4, width / 2, height / 2, 0x00c000);
    if (fps > 0) {
        g_timeout_add((guint)(1000 / fps), draw_frame, display);
    }
}

void display_add(struct server *server, const struct server_options *options)
{
    server->width = options->width;
    server->height = options->height;
    server->display_count = options->displays;
    server->cached = options->cached;
    for (int i = 0; i < options->displays; i++) {
        add_one(server, i, options->fps);
    }
}

/* ---- keyboard and tablet ---- */

static void push_key(SpiceKbdInstance *keyboard, uint8_t scancode)
{
    static const uint32_t colours[] = {0xff0000, 0x00ff00, 0xffff00, 0xff00ff};
    struct server *server = SPICE_CONTAINEROF(keyboard, struct server, keyboard);

    report("key", "{s:i s:i}", "server", server->index, "scancode", scancode);
    if (scancode & 0x80) {
        return; /* a release */
    }
    uint32_t colour = colours[server->key_count++ % G_N_ELEMENTS(colours)];
    for (int i = 0; i < server->display_count; i++) {
        fill(&server->displays[i], server->width / 4, server->height / 4, server->width / 2,
             server->height / 2, colour);
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

static void set_logical_size(SpiceTabletInstance *tablet, int width, int height)
{
    (void)tablet;
    (void)width;
    (void)height;
}

static void report_pointer(SpiceTabletInstance *tablet, int x, int y, uint32_t buttons)
{
    struct server *server = SPICE_CONTAINEROF(tablet, struct server, tablet);
    report("pointer", "{s:i s:i s:i s:i}", "server", server->index, "x", x, "y", y, "buttons",
           (int)buttons);
}

static void set_position(SpiceTabletInstance *tablet, int x, int y, uint32_t buttons)
{
    struct server *server = SPICE_CONTAINEROF(tablet, struct server, tablet);

    report_pointer(tablet, x, y, buttons);
    if (buttons != 0) {
        fill(&server->displays[0], x, y, 8, 8, 0xffffff);
    }
}

static void turn_wheel(SpiceTabletInstance *tablet, int steps, uint32_t buttons)
{
    (void)steps;
    report_pointer(tablet, -1, -1, buttons);
}

static void set_buttons(SpiceTabletInstance *tablet, uint32_t buttons)
{
    report_pointer(tablet, -1, -1, buttons);
}

static const SpiceTabletInterface tablet_interface = {
    .base =
        {
            .type = SPICE_INTERFACE_TABLET,
            .description = "tablet",
            .major_version = SPICE_INTERFACE_TABLET_MAJOR,
            .minor_version = SPICE_INTERFACE_TABLET_MINOR,
        },
    .set_logical_size = set_logical_size,
    .position = set_position,
    .wheel = turn_wheel,
    .buttons = set_buttons,
};

void display_add_input(struct server *server)
{
    server->keyboard.base.sif = &keyboard_interface.base;
    spice_server_add_interface(server->spice, &server->keyboard.base);
    server->tablet.base.sif = &tablet_interface.base;
    spice_server_add_interface(server->spice, &server->tablet.base);
}
