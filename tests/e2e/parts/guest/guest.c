/*
 * The test guest: a screen that answers. Every key press flips the colour of a box and shows the
 * character; the PS/2 mouse moves a pointer; COM1 prints a login text and echoes what it reads.
 * It has no operating system below it, boots in a fraction of a second under TCG, and sleeps
 * (hlt) whenever nothing happens, so that many of them fit on one machine.
 *
 * Compiled with -DTONE it plays 440 Hz on the PC speaker for ever; without, the Enter key gives a
 * short beep. Compiled with -DBUSY it paints noise below the text, a new picture each timer tick.
 *
 * Runs in 32-bit protected mode with interrupts; the handlers only put bytes into a ring, the
 * main loop does the work.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIDTH = 800,
    HEIGHT = 600,
    GLYPH_W = 8,
    GLYPH_H = 16,
    RING_SIZE = 256,
    VECTOR_BASE = 0x20,
    COM1 = 0x3f8,
};

enum colour {
    DESKTOP = 0x203060,
    WINDOW = 0xe8e8ee,
    TITLE_BAR = 0x3b6ea5,
    TEXT = 0x101018,
    LIGHT = 0xffffff,
    BOX_A = 0x00a040,
    BOX_B = 0xc03020,
    POINTER = 0xffc000,
};

struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t zero;
    uint8_t type;
    uint16_t offset_high;
} __attribute__((packed));

struct interrupt_frame;

/* One producer (an interrupt handler) and one consumer (the main loop) per ring. */
struct ring {
    volatile uint8_t head;
    volatile uint8_t tail;
    uint8_t bytes[RING_SIZE];
};

static uint32_t *screen;
static uint32_t screen_stride; /* in pixels */
static const uint8_t *font;

static struct gate idt[VECTOR_BASE + 16] __attribute__((aligned(8)));
static struct ring keys;
static struct ring mouse;
static struct ring serial;
static volatile uint32_t ticks;

/* gcc may call these even in freestanding code. */
void *memset(void *to, int value, size_t size);
void guest_main(uint32_t framebuffer, uint32_t bytes_per_line, const uint8_t *glyphs);

void *memset(void *to, int value, size_t size)
{
    uint8_t *p = to;
    while (size-- > 0) {
        *p++ = (uint8_t)value;
    }
    return to;
}

static inline void port_write(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t port_read(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static bool ring_take(struct ring *ring, uint8_t *byte)
{
    if (ring->tail == ring->head) {
        return false;
    }
    *byte = ring->bytes[ring->tail];
    ring->tail++;
    return true;
}

static void ring_put(struct ring *ring, uint8_t byte)
{
    if ((uint8_t)(ring->head + 1) == ring->tail) {
        return; /* full: the oldest input wins */
    }
    ring->bytes[ring->head] = byte;
    ring->head++;
}

/* ---- interrupts ---- */

static void pic_done(bool second)
{
    if (second) {
        port_write(0xa0, 0x20);
    }
    port_write(0x20, 0x20);
}

__attribute__((interrupt)) static void on_timer(struct interrupt_frame *frame)
{
    (void)frame;
    ticks++;
    pic_done(false);
}

__attribute__((interrupt)) static void on_key(struct interrupt_frame *frame)
{
    (void)frame;
    ring_put(&keys, port_read(0x60));
    pic_done(false);
}

__attribute__((interrupt)) static void on_serial(struct interrupt_frame *frame)
{
    (void)frame;
    while (port_read(COM1 + 5) & 1) {
        ring_put(&serial, port_read(COM1));
    }
    pic_done(false);
}

__attribute__((interrupt)) static void on_mouse(struct interrupt_frame *frame)
{
    (void)frame;
    ring_put(&mouse, port_read(0x60));
    pic_done(true);
}

__attribute__((interrupt)) static void on_other(struct interrupt_frame *frame)
{
    (void)frame;
    pic_done(true);
}

static void set_gate(unsigned irq, void (*handler)(struct interrupt_frame *))
{
    uint32_t address = (uint32_t)handler;
    idt[VECTOR_BASE + irq] = (struct gate){
        .offset_low = (uint16_t)(address & 0xffff),
        .selector = 0x08,
        .type = 0x8e, /* present, 32-bit interrupt gate */
        .offset_high = (uint16_t)(address >> 16),
    };
}

static void start_interrupts(void)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) pointer = {sizeof(idt) - 1, (uint32_t)idt};

    for (unsigned irq = 0; irq < 16; irq++) {
        set_gate(irq, on_other);
    }
    set_gate(0, on_timer);
    set_gate(1, on_key);
    set_gate(4, on_serial);
    set_gate(12, on_mouse);
    __asm__ volatile("lidt %0" : : "m"(pointer));

    port_write(0x20, 0x11); /* both PICs: vectors 0x20..0x2f, cascade on line 2 */
    port_write(0xa0, 0x11);
    port_write(0x21, VECTOR_BASE);
    port_write(0xa1, VECTOR_BASE + 8);
    port_write(0x21, 0x04);
    port_write(0xa1, 0x02);
    port_write(0x21, 0x01);
    port_write(0xa1, 0x01);
    port_write(0x21, (uint8_t) ~(1u << 0 | 1u << 1 | 1u << 2 | 1u << 4));
    port_write(0xa1, (uint8_t) ~(1u << 4)); /* line 12 */
}

/* ---- the keyboard controller ---- */

static void controller_wait_writable(void)
{
    while (port_read(0x64) & 2) {
    }
}

static uint8_t controller_read(void)
{
    while (!(port_read(0x64) & 1)) {
    }
    return port_read(0x60);
}

static void controller_command(uint8_t command)
{
    controller_wait_writable();
    port_write(0x64, command);
}

static void mouse_command(uint8_t command)
{
    controller_command(0xd4);
    controller_wait_writable();
    port_write(0x60, command);
    controller_read(); /* its acknowledgement */
}

static void start_mouse(void)
{
    while (port_read(0x64) & 1) {
        port_read(0x60);
    }
    controller_command(0xa8);
    controller_command(0x20);
    uint8_t config = controller_read();
    config = (uint8_t)((config | 0x03u) & ~0x30u); /* both interrupts on, both devices clocked */
    controller_command(0x60);
    controller_wait_writable();
    port_write(0x60, config);
    mouse_command(0xf6);
    mouse_command(0xf4);
}

/* ---- drawing ---- */

static void fill(int x, int y, int w, int h, uint32_t rgb)
{
    for (int row = y; row < y + h; row++) {
        for (int column = x; column < x + w; column++) {
            screen[(uint32_t)row * screen_stride + (uint32_t)column] = rgb;
        }
    }
}

static void draw_char(int x, int y, char c, uint32_t ink, uint32_t paper)
{
    const uint8_t *glyph = font + (uint8_t)c * GLYPH_H;
    for (int row = 0; row < GLYPH_H; row++) {
        for (int column = 0; column < GLYPH_W; column++) {
            bool set = glyph[row] & (0x80 >> column);
            screen[(uint32_t)(y + row) * screen_stride + (uint32_t)(x + column)] =
                set ? ink : paper;
        }
    }
}

static void draw_text(int x, int y, const char *text, uint32_t ink, uint32_t paper)
{
    for (; *text != '\0'; text++, x += GLYPH_W) {
        draw_char(x, y, *text, ink, paper);
    }
}

static void draw_number(int x, int y, unsigned value, uint32_t ink, uint32_t paper)
{
    for (int digit = 4; digit >= 0; digit--) {
        draw_char(x + digit * GLYPH_W, y, (char)('0' + value % 10), ink, paper);
        value /= 10;
    }
}

/* ---- the desktop ---- */

enum {
    WINDOW_X = 60,
    WINDOW_Y = 50,
    WINDOW_W = 680,
    WINDOW_H = 470,
    BOX_X = 580,
    BOX_Y = 110,
    BOX_SIZE = 120,
    TYPED_X = WINDOW_X + 24,
    TYPED_Y = 300,
    TYPED_COLUMNS = 76,
    TYPED_ROWS = 12,
    STATUS_Y = 570,
};

static int typed_column;
static int typed_row;
static unsigned key_count;
static int pointer_x = WIDTH / 2;
static int pointer_y = 262;

/* Drawn with exclusive or, so that drawing it twice takes it away again. */
static void flip_pointer(void)
{
    for (int row = 0; row < 14; row++) {
        for (int column = 0; column <= row * 2 / 3; column++) {
            int x = pointer_x + column;
            int y = pointer_y + row;
            if (x < WIDTH && y < HEIGHT) {
                screen[(uint32_t)y * screen_stride + (uint32_t)x] ^= POINTER;
            }
        }
    }
}

static void draw_status(unsigned buttons)
{
    draw_text(24, STATUS_Y, "keys", LIGHT, DESKTOP);
    draw_number(64, STATUS_Y, key_count, LIGHT, DESKTOP);
    draw_text(130, STATUS_Y, "pointer", LIGHT, DESKTOP);
    draw_number(194, STATUS_Y, (unsigned)pointer_x, LIGHT, DESKTOP);
    draw_number(242, STATUS_Y, (unsigned)pointer_y, LIGHT, DESKTOP);
    draw_text(300, STATUS_Y, "buttons", LIGHT, DESKTOP);
    draw_number(364, STATUS_Y, buttons, LIGHT, DESKTOP);
}

/* Always the last thing drawn: whoever sees its lower right corner in a new colour sees all. */
static void draw_box(void)
{
    fill(BOX_X, BOX_Y, BOX_SIZE, BOX_SIZE, key_count % 2 ? BOX_B : BOX_A);
}

static void draw_desktop(void)
{
    fill(0, 0, WIDTH, HEIGHT, DESKTOP);
    fill(WINDOW_X + 6, WINDOW_Y + 6, WINDOW_W, WINDOW_H, 0x101830);
    fill(WINDOW_X, WINDOW_Y, WINDOW_W, WINDOW_H, WINDOW);
    fill(WINDOW_X, WINDOW_Y, WINDOW_W, 28, TITLE_BAR);
    draw_text(WINDOW_X + 12, WINDOW_Y + 6, "A desktop behind kerbside", LIGHT, TITLE_BAR);
    draw_text(TYPED_X, 110, "This screen belongs to a guest in QEMU.", TEXT, WINDOW);
    draw_text(TYPED_X, 134, "Your viewer talks to kerbside, and kerbside to", TEXT, WINDOW);
    draw_text(TYPED_X, 158, "the hypervisor; neither ever sees the other.", TEXT, WINDOW);
    draw_text(TYPED_X, 198, "Move the mouse, type, press Enter for a beep.", TEXT, WINDOW);
    draw_text(TYPED_X, 222, "Every key flips the colour of the box.", TEXT, WINDOW);
    fill(TYPED_X - 8, TYPED_Y - 8, TYPED_COLUMNS * GLYPH_W + 16, TYPED_ROWS * GLYPH_H + 16, LIGHT);
    draw_status(0);
    flip_pointer();
    draw_box();
}

static void new_line(void)
{
    typed_column = 0;
    typed_row++;
    if (typed_row == TYPED_ROWS) {
        fill(TYPED_X, TYPED_Y, TYPED_COLUMNS * GLYPH_W, TYPED_ROWS * GLYPH_H, LIGHT);
        typed_row = 0;
    }
}

static void type_char(char c)
{
    if (c == '\n') {
        new_line();
        return;
    }
    if (c == '\b') {
        if (typed_column > 0) {
            typed_column--;
            draw_char(TYPED_X + typed_column * GLYPH_W, TYPED_Y + typed_row * GLYPH_H, ' ', TEXT,
                      LIGHT);
        }
        return;
    }
    draw_char(TYPED_X + typed_column * GLYPH_W, TYPED_Y + typed_row * GLYPH_H, c, TEXT, LIGHT);
    typed_column++;
    if (typed_column == TYPED_COLUMNS) {
        new_line();
    }
}

#ifdef BUSY
/* What no compression makes small, 18 times a second. */
static void paint_noise(void)
{
    static uint32_t painted, noise = 2463534242u;
    if (painted == ticks) {
        return;
    }
    painted = ticks;
    for (int y = TYPED_Y; y < TYPED_Y + TYPED_ROWS * GLYPH_H; y++) {
        for (int x = TYPED_X; x < TYPED_X + TYPED_COLUMNS * GLYPH_W; x++) {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            screen[(uint32_t)y * screen_stride + (uint32_t)x] = noise & 0xffffff;
        }
    }
}
#endif

/* ---- the speaker ---- */

static void speaker_on(void)
{
    uint16_t divisor = 1193182 / 440;
    port_write(0x43, 0xb6);
    port_write(0x42, (uint8_t)(divisor & 0xff));
    port_write(0x42, (uint8_t)(divisor >> 8));
    port_write(0x61, port_read(0x61) | 3);
}

#ifndef TONE
static uint32_t beep_until;

static void speaker_off(void)
{
    port_write(0x61, port_read(0x61) & (uint8_t)~3u);
}
#endif

/* ---- what comes in ---- */

static void handle_key(uint8_t scancode)
{
    static const char plain[] = "\0\0331234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./"
                                "\0*\0 ";
    static const char shifted[] = "\0\033!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?"
                                  "\0*\0 ";
    static bool shift;
    uint8_t code = scancode & 0x7f;

    if (code == 0x2a || code == 0x36) {
        shift = !(scancode & 0x80);
        return;
    }
    if (scancode & 0x80) {
        return;
    }
    flip_pointer();
    key_count++;
    char c = code < sizeof(plain) - 1 ? (shift ? shifted[code] : plain[code]) : '\0';
    if (c != '\0' && c != '\033' && c != '\t') {
        type_char(c);
    }
#ifndef TONE
    if (c == '\n') {
        speaker_on();
        beep_until = ticks + 4;
    }
#endif
    draw_status(0);
    flip_pointer();
    draw_box();
}

static int clamp(int value, int most)
{
    if (value < 0) {
        return 0;
    }
    return value > most ? most : value;
}

static void handle_mouse(uint8_t byte)
{
    static uint8_t packet[3];
    static unsigned filled;

    if (filled == 0 && !(byte & 0x08)) {
        return; /* not the start of a packet: wait for one */
    }
    packet[filled++] = byte;
    if (filled < 3) {
        return;
    }
    filled = 0;
    int dx = packet[1] - (packet[0] & 0x10 ? 256 : 0);
    int dy = packet[2] - (packet[0] & 0x20 ? 256 : 0);
    flip_pointer();
    pointer_x = clamp(pointer_x + dx, WIDTH - 12);
    pointer_y = clamp(pointer_y - dy, HEIGHT - 16);
    draw_status(packet[0] & 7);
    flip_pointer();
}

static void serial_write(const char *text)
{
    for (; *text != '\0'; text++) {
        while (!(port_read(COM1 + 5) & 0x20)) {
        }
        port_write(COM1, (uint8_t)*text);
    }
}

static void start_serial(void)
{
    port_write(COM1 + 1, 0x00);
    port_write(COM1 + 3, 0x80); /* divisor 1: 115200 */
    port_write(COM1 + 0, 0x01);
    port_write(COM1 + 1, 0x00);
    port_write(COM1 + 3, 0x03); /* 8 bits, no parity */
    port_write(COM1 + 2, 0x07);
    port_write(COM1 + 4, 0x0b);
    port_write(COM1 + 1, 0x01); /* interrupt on received data */
    serial_write("\r\nkerbside guest login: ");
}

static void handle_serial(uint8_t byte)
{
    if (byte == '\r' || byte == '\n') {
        serial_write("\r\nkerbside guest login: ");
        return;
    }
    const char echo[] = {(char)byte, '\0'};
    serial_write(echo);
}

static bool handle_input(void)
{
    uint8_t byte;
    if (ring_take(&keys, &byte)) {
        handle_key(byte);
        return true;
    }
    if (ring_take(&mouse, &byte)) {
        handle_mouse(byte);
        return true;
    }
    if (ring_take(&serial, &byte)) {
        handle_serial(byte);
        return true;
    }
    return false;
}

#ifndef TONE
static void end_beep(void)
{
    if (beep_until != 0 && ticks >= beep_until) {
        speaker_off();
        beep_until = 0;
    }
}
#endif

void guest_main(uint32_t framebuffer, uint32_t bytes_per_line, const uint8_t *glyphs)
{
    screen = (uint32_t *)framebuffer;
    screen_stride = bytes_per_line / sizeof(*screen);
    font = glyphs;
    draw_desktop();
    start_interrupts();
    start_mouse();
    start_serial();
#ifdef TONE
    speaker_on();
#endif
    for (;;) {
        while (handle_input()) {
        }
#ifndef TONE
        end_beep();
#endif
#ifdef BUSY
        paint_noise();
#endif
        /* sti takes effect after the next instruction: nothing can slip in before the hlt, and
         * input that came between the check and here is seen at the next tick at the latest. */
        __asm__ volatile("sti; hlt; cli");
    }
}
