/* The table of all messages. Pure; any thread.
 *
 * Lengths. The least is what spice.proto's fields need; the most is what the real sender can send
 * or the real receiver takes, whichever is less, or a generous bound where the protocol has none.
 * Our own memory never depends on them (see stream.h); they protect the peers: spice-gtk allocates
 * what a header says (spice_channel_recv_msg), and servers up to 0.14 call a message from the
 * client that is longer than their buffer critical, which by default ends the hypervisor.
 *
 * `longest` holds whatever the mode, for messages without a row too:
 * - from the client, what spice-server's receive buffers take: main 4096 + 11 * 2048, display,
 *   cursor and playback 1024, inputs 2048. For record, smartcard and ports it takes any: 1 MiB is
 *   far above a frame of sound or an extended APDU, an application may write 16 MiB to a port at
 *   once. usbredir: usbredirparser's limit for a packet, 128 MiB + 1 KiB, and a compression header;
 *   spice-gtk puts a whole packet into one message.
 * - from the server: main 256 KiB, the bandwidth test's PING (256 000 bytes and 12) being by far
 *   the longest; display 256 MiB, an 8K screen as one uncompressed bitmap being 127 MiB; cursor
 *   16 MiB, 2048 x 2048 in 32 bit; playback and smartcard 1 MiB; ports 1 MiB, read from the
 *   device by 64 KiB (spicevmc.cpp); the others 64 KiB for NOTIFY's text.
 * - MIGRATE_DATA on every channel, both ways: a server's whole state of it, 16 MiB.
 *
 * What is refused though the headers name it:
 * - LIST, but on display. spice-server sends it there, and only there, when a picture takes another
 *   display channel's place in the shared cache: a WAIT_FOR_CHANNELS and an INVAL_LIST in one
 *   (dcc-send.cpp, send_free_list). It is walked, and nothing else may be inside.
 * - GL_SCANOUT_UNIX carries a file descriptor, which cannot cross a proxy, and one byte outside the
 *   framing with it. Its capability is cleared on the way to the server, so an honest one has no
 *   reason to send it.
 * - Everything on tunnel (obsolete since 0.12) but what all channels have. */
#include "spice/grammar.h"

#include "spice/stream.h"

#include <spice/enums.h>

#define KIB(n) (UINT32_C(1024) * (n))
#define MIB(n) (UINT32_C(1048576) * (n))

#define OPEN KB_GRAMMAR_OPEN
#define STARTED KB_GRAMMAR_STARTED
#define MIGRATING KB_GRAMMAR_MIGRATING
#define NEVER KB_GRAMMAR_NEVER
#define RARE KB_RATE_RARE
#define USER KB_RATE_USER
#define FLOW KB_RATE_FLOW
#define BULK KB_RATE_BULK

#define MIGRATE_DATA_MAX MIB(16)
/* Host and certificate subject of SpiceMigrationDstInfo. */
#define MIGRATE_INFO_MAX KIB(8)
/* SpiceMsgWaitForChannels: u8 count, then type, id and serial each. */
#define WAIT_MAX (1 + 255 * 10)
/* SpiceResourceList: u16 count, then type and id each. */
#define INVAL_LIST_MAX (2 + 65535 * 9)
/* A drawing command without pictures: its clip's rectangles make it long. */
#define CLIPPED_MAX MIB(1)
#define PICTURE_MAX MIB(256)
#define CURSOR_MAX MIB(16)
/* Heads in a MONITORS_CONFIG of 28 bytes each; spice-server's QXL knows 64. */
#define HEADS_MAX (4 + 28 * 256)
/* u32 count, then type and id of every channel there can be. */
#define CHANNELS_LIST_MAX (4 + 2 * 11 * 256)
/* VD_AGENT_MAX_DATA_SIZE, vd_agent.h */
#define AGENT_CHUNK_MAX 2048
/* usbredirparser.c: MAX_PACKET_SIZE; SpiceMsgCompressedData's u8 and u32 before it. */
#define USBREDIR_PACKET_MAX (MIB(128) + 1024 + 5)
#define PORT_INIT_MAX (9 + 4096)

/* clang-format off: a row a message, from here to the end of the table */

/* M(name, least, most, rate and more fields) */
#define M(text, least, most, ...)                                                                  \
    {                                                                                              \
        .name = (text), .min = (least), .max = (most), .rate = __VA_ARGS__                         \
    }

/* What every channel has. ping and text: the longest PING and NOTIFY; then what LIST is here. */
#define FROM_SERVER(ping, text, ...)                                                               \
    [SPICE_MSG_MIGRATE] = M("MIGRATE", 4, 4, RARE, .watched = true, .sets = MIGRATING),            \
    [SPICE_MSG_MIGRATE_DATA] =                                                                     \
        M("MIGRATE_DATA", 0, MIGRATE_DATA_MAX, RARE, .watched = true, .needs = MIGRATING),         \
    [SPICE_MSG_SET_ACK] = M("SET_ACK", 8, 8, RARE), [SPICE_MSG_PING] = M("PING", 12, ping, RARE),  \
    [SPICE_MSG_WAIT_FOR_CHANNELS] = M("WAIT_FOR_CHANNELS", 1, WAIT_MAX, BULK),                     \
    [SPICE_MSG_DISCONNECTING] = M("DISCONNECTING", 12, 12, RARE),                                  \
    [SPICE_MSG_NOTIFY] = M("NOTIFY", 24, text, RARE),                                              \
    [SPICE_MSG_LIST] = M("LIST", __VA_ARGS__, .list = true)

#define REFUSED_LIST 2, KIB(64), RARE, .needs = NEVER
#define SHORT_FROM_SERVER FROM_SERVER(KIB(4), KIB(64), REFUSED_LIST)

/* The first that the new server of a migration gets is MIGRATE_DATA; it stands for INIT and
 * START. */
#define FROM_CLIENT                                                                                \
    [SPICE_MSGC_ACK_SYNC] = M("ACK_SYNC", 4, 4, RARE), [SPICE_MSGC_ACK] = M("ACK", 0, 0, BULK),    \
    [SPICE_MSGC_PONG] = M("PONG", 12, 12, RARE),                                                   \
    [SPICE_MSGC_MIGRATE_FLUSH_MARK] =                                                              \
        M("MIGRATE_FLUSH_MARK", 0, 0, RARE, .watched = true, .needs = MIGRATING),                  \
    [SPICE_MSGC_MIGRATE_DATA] =                                                                    \
        M("MIGRATE_DATA", 0, MIGRATE_DATA_MAX, RARE, .watched = true, .sets = OPEN | STARTED),     \
    [SPICE_MSGC_DISCONNECTING] = M("DISCONNECTING", 12, 12, RARE)

static const struct kb_grammar_row main_server[] = {
    FROM_SERVER(KIB(256), KIB(64), REFUSED_LIST),
    [SPICE_MSG_MAIN_MIGRATE_BEGIN] = M("MIGRATE_BEGIN", 20, MIGRATE_INFO_MAX, RARE, .watched = true,
                                       .needs = OPEN, .sets = MIGRATING),
    [SPICE_MSG_MAIN_MIGRATE_CANCEL] =
        M("MIGRATE_CANCEL", 0, 0, RARE, .watched = true, .clears = MIGRATING),
    [SPICE_MSG_MAIN_INIT] = M("INIT", 32, 32, RARE, .bars = OPEN, .sets = OPEN, .watched = true),
    [SPICE_MSG_MAIN_CHANNELS_LIST] =
        M("CHANNELS_LIST", 4, CHANNELS_LIST_MAX, RARE, .needs = OPEN, .watched = true),
    [SPICE_MSG_MAIN_MOUSE_MODE] = M("MOUSE_MODE", 4, 4, RARE, .needs = OPEN),
    [SPICE_MSG_MAIN_MULTI_MEDIA_TIME] = M("MULTI_MEDIA_TIME", 4, 4, FLOW, .needs = OPEN),
    [SPICE_MSG_MAIN_AGENT_CONNECTED] =
        M("AGENT_CONNECTED", 0, 0, RARE, .needs = OPEN, .watched = true),
    [SPICE_MSG_MAIN_AGENT_DISCONNECTED] =
        M("AGENT_DISCONNECTED", 4, 4, RARE, .needs = OPEN, .watched = true),
    [SPICE_MSG_MAIN_AGENT_DATA] =
        M("AGENT_DATA", 0, AGENT_CHUNK_MAX, BULK, .needs = OPEN, .watched = true),
    [SPICE_MSG_MAIN_AGENT_TOKEN] = M("AGENT_TOKEN", 4, 4, FLOW, .needs = OPEN, .watched = true),
    [SPICE_MSG_MAIN_MIGRATE_SWITCH_HOST] =
        M("MIGRATE_SWITCH_HOST", 20, MIGRATE_INFO_MAX, RARE, .watched = true, .needs = OPEN),
    [SPICE_MSG_MAIN_MIGRATE_END] = M("MIGRATE_END", 0, 0, RARE, .watched = true, .needs = OPEN),
    [SPICE_MSG_MAIN_NAME] = M("NAME", 4, KIB(8), RARE, .needs = OPEN),
    [SPICE_MSG_MAIN_UUID] = M("UUID", 16, 16, RARE, .needs = OPEN),
    [SPICE_MSG_MAIN_AGENT_CONNECTED_TOKENS] =
        M("AGENT_CONNECTED_TOKENS", 4, 4, RARE, .needs = OPEN, .watched = true),
    [SPICE_MSG_MAIN_MIGRATE_BEGIN_SEAMLESS] =
        M("MIGRATE_BEGIN_SEAMLESS", 24, MIGRATE_INFO_MAX, RARE, .watched = true, .needs = OPEN,
          .sets = MIGRATING),
    [SPICE_MSG_MAIN_MIGRATE_DST_SEAMLESS_ACK] =
        M("MIGRATE_DST_SEAMLESS_ACK", 0, 0, RARE, .bars = OPEN, .sets = OPEN),
    [SPICE_MSG_MAIN_MIGRATE_DST_SEAMLESS_NACK] =
        M("MIGRATE_DST_SEAMLESS_NACK", 0, 0, RARE, .bars = OPEN),
};

static const struct kb_grammar_row main_client[] = {
    FROM_CLIENT,
    [SPICE_MSGC_MAIN_CLIENT_INFO] = M("CLIENT_INFO", 8, 8, RARE, .needs = OPEN),
    [SPICE_MSGC_MAIN_MIGRATE_CONNECTED] =
        M("MIGRATE_CONNECTED", 0, 0, RARE, .watched = true, .needs = MIGRATING),
    [SPICE_MSGC_MAIN_MIGRATE_CONNECT_ERROR] =
        M("MIGRATE_CONNECT_ERROR", 0, 0, RARE, .watched = true, .needs = MIGRATING),
    [SPICE_MSGC_MAIN_ATTACH_CHANNELS] = M("ATTACH_CHANNELS", 0, 0, RARE, .needs = OPEN),
    [SPICE_MSGC_MAIN_MOUSE_MODE_REQUEST] = M("MOUSE_MODE_REQUEST", 2, 2, USER, .needs = OPEN),
    [SPICE_MSGC_MAIN_AGENT_START] =
        M("AGENT_START", 4, 4, RARE, .needs = OPEN, .sets = STARTED, .watched = true),
    [SPICE_MSGC_MAIN_AGENT_DATA] =
        M("AGENT_DATA", 0, AGENT_CHUNK_MAX, BULK, .needs = OPEN | STARTED, .watched = true),
    [SPICE_MSGC_MAIN_AGENT_TOKEN] =
        M("AGENT_TOKEN", 4, 4, FLOW, .needs = OPEN | STARTED, .watched = true),
    [SPICE_MSGC_MAIN_MIGRATE_END] = M("MIGRATE_END", 0, 0, RARE, .watched = true, .bars = OPEN),
    [SPICE_MSGC_MAIN_MIGRATE_DST_DO_SEAMLESS] =
        M("MIGRATE_DST_DO_SEAMLESS", 4, 4, RARE, .watched = true, .bars = OPEN),
    [SPICE_MSGC_MAIN_MIGRATE_CONNECTED_SEAMLESS] =
        M("MIGRATE_CONNECTED_SEAMLESS", 0, 0, RARE, .watched = true, .needs = MIGRATING),
    [SPICE_MSGC_MAIN_QUALITY_INDICATOR] = M("QUALITY_INDICATOR", 0, KIB(1), RARE, .needs = OPEN),
};

#define LISTED 2, KB_STREAM_HELD_MAX, BULK, .needs = OPEN

static const struct kb_grammar_row display_server[] = {
    FROM_SERVER(KIB(4), KIB(64), LISTED),
    [SPICE_MSG_DISPLAY_MODE] = M("MODE", 12, 12, RARE, .needs = OPEN),
    [SPICE_MSG_DISPLAY_MARK] = M("MARK", 0, 0, FLOW, .needs = OPEN),
    [SPICE_MSG_DISPLAY_RESET] = M("RESET", 0, 0, RARE, .needs = OPEN),
    [SPICE_MSG_DISPLAY_COPY_BITS] = M("COPY_BITS", 29, CLIPPED_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_INVAL_LIST] = M("INVAL_LIST", 2, INVAL_LIST_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_INVAL_ALL_PIXMAPS] =
        M("INVAL_ALL_PIXMAPS", 1, WAIT_MAX, FLOW, .needs = OPEN),
    [SPICE_MSG_DISPLAY_INVAL_PALETTE] = M("INVAL_PALETTE", 8, 8, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_INVAL_ALL_PALETTES] = M("INVAL_ALL_PALETTES", 0, 0, FLOW, .needs = OPEN),
    [SPICE_MSG_DISPLAY_STREAM_CREATE] = M("STREAM_CREATE", 51, CLIPPED_MAX, FLOW, .needs = OPEN),
    [SPICE_MSG_DISPLAY_STREAM_DATA] = M("STREAM_DATA", 12, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_STREAM_CLIP] = M("STREAM_CLIP", 5, CLIPPED_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_STREAM_DESTROY] = M("STREAM_DESTROY", 4, 4, FLOW, .needs = OPEN),
    [SPICE_MSG_DISPLAY_STREAM_DESTROY_ALL] = M("STREAM_DESTROY_ALL", 0, 0, FLOW, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_FILL] = M("DRAW_FILL", 37, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_OPAQUE] = M("DRAW_OPAQUE", 58, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_COPY] = M("DRAW_COPY", 57, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_BLEND] = M("DRAW_BLEND", 57, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_BLACKNESS] = M("DRAW_BLACKNESS", 34, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_WHITENESS] = M("DRAW_WHITENESS", 34, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_INVERS] = M("DRAW_INVERS", 34, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_ROP3] = M("DRAW_ROP3", 57, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_STROKE] = M("DRAW_STROKE", 31, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_TEXT] = M("DRAW_TEXT", 47, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_TRANSPARENT] =
        M("DRAW_TRANSPARENT", 49, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_DRAW_ALPHA_BLEND] =
        M("DRAW_ALPHA_BLEND", 43, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_SURFACE_CREATE] = M("SURFACE_CREATE", 20, 20, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_SURFACE_DESTROY] = M("SURFACE_DESTROY", 4, 4, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_STREAM_DATA_SIZED] =
        M("STREAM_DATA_SIZED", 36, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_MONITORS_CONFIG] =
        M("MONITORS_CONFIG", 4, HEADS_MAX, FLOW, .needs = OPEN, .watched = true),
    [SPICE_MSG_DISPLAY_DRAW_COMPOSITE] = M("DRAW_COMPOSITE", 37, PICTURE_MAX, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_STREAM_ACTIVATE_REPORT] =
        M("STREAM_ACTIVATE_REPORT", 16, 16, FLOW, .needs = OPEN),
    [SPICE_MSG_DISPLAY_GL_SCANOUT_UNIX] = M("GL_SCANOUT_UNIX", 20, 20, RARE, .needs = NEVER),
    [SPICE_MSG_DISPLAY_GL_DRAW] = M("GL_DRAW", 16, 16, BULK, .needs = OPEN),
    [SPICE_MSG_DISPLAY_QUALITY_INDICATOR] = M("QUALITY_INDICATOR", 0, KIB(1), RARE, .needs = OPEN),
};

static const struct kb_grammar_row display_client[] = {
    FROM_CLIENT,
    [SPICE_MSGC_DISPLAY_INIT] = M("INIT", 14, 14, RARE, .bars = OPEN, .sets = OPEN),
    [SPICE_MSGC_DISPLAY_STREAM_REPORT] = M("STREAM_REPORT", 32, 32, FLOW, .needs = OPEN),
    [SPICE_MSGC_DISPLAY_PREFERRED_COMPRESSION] =
        M("PREFERRED_COMPRESSION", 1, 1, RARE, .needs = OPEN),
    [SPICE_MSGC_DISPLAY_GL_DRAW_DONE] = M("GL_DRAW_DONE", 0, 0, BULK, .needs = OPEN),
    [SPICE_MSGC_DISPLAY_PREFERRED_VIDEO_CODEC_TYPE] =
        M("PREFERRED_VIDEO_CODEC_TYPE", 1, 256, RARE, .needs = OPEN),
};

static const struct kb_grammar_row inputs_server[] = {
    SHORT_FROM_SERVER,
    [SPICE_MSG_INPUTS_INIT] = M("INIT", 2, 2, RARE, .bars = OPEN, .sets = OPEN),
    [SPICE_MSG_INPUTS_KEY_MODIFIERS] = M("KEY_MODIFIERS", 2, 2, USER, .needs = OPEN),
    [SPICE_MSG_INPUTS_MOUSE_MOTION_ACK] = M("MOUSE_MOTION_ACK", 0, 0, BULK, .needs = OPEN),
};

/* Not after INIT only: a client may type before the server has said how its locks are. */
static const struct kb_grammar_row inputs_client[] = {
    FROM_CLIENT,
    [SPICE_MSGC_INPUTS_KEY_DOWN] = M("KEY_DOWN", 4, 4, USER, .watched = true),
    [SPICE_MSGC_INPUTS_KEY_UP] = M("KEY_UP", 4, 4, USER, .watched = true),
    [SPICE_MSGC_INPUTS_KEY_MODIFIERS] = M("KEY_MODIFIERS", 2, 2, USER, .watched = true),
    [SPICE_MSGC_INPUTS_KEY_SCANCODE] = M("KEY_SCANCODE", 1, KIB(2), USER, .watched = true),
    [SPICE_MSGC_INPUTS_MOUSE_MOTION] = M("MOUSE_MOTION", 10, 10, BULK, .watched = true),
    [SPICE_MSGC_INPUTS_MOUSE_POSITION] = M("MOUSE_POSITION", 11, 11, BULK, .watched = true),
    [SPICE_MSGC_INPUTS_MOUSE_PRESS] = M("MOUSE_PRESS", 3, 3, USER, .watched = true),
    [SPICE_MSGC_INPUTS_MOUSE_RELEASE] = M("MOUSE_RELEASE", 3, 3, USER, .watched = true),
};

/* A server to which the desktop has moved with its client says INVAL_ALL and no INIT, and is sent
 * no MIGRATE_DATA here that would stand for it. */
static const struct kb_grammar_row cursor_server[] = {
    SHORT_FROM_SERVER,
    [SPICE_MSG_CURSOR_INIT] = M("INIT", 11, CURSOR_MAX, FLOW, .sets = OPEN),
    [SPICE_MSG_CURSOR_RESET] = M("RESET", 0, 0, FLOW, .needs = OPEN),
    [SPICE_MSG_CURSOR_SET] = M("SET", 7, CURSOR_MAX, FLOW, .needs = OPEN),
    [SPICE_MSG_CURSOR_MOVE] = M("MOVE", 4, 4, FLOW, .needs = OPEN),
    [SPICE_MSG_CURSOR_HIDE] = M("HIDE", 0, 0, FLOW, .needs = OPEN),
    [SPICE_MSG_CURSOR_TRAIL] = M("TRAIL", 4, 4, FLOW, .needs = OPEN),
    [SPICE_MSG_CURSOR_INVAL_ONE] = M("INVAL_ONE", 8, 8, FLOW, .needs = OPEN),
    [SPICE_MSG_CURSOR_INVAL_ALL] = M("INVAL_ALL", 0, 0, FLOW, .sets = OPEN),
};

static const struct kb_grammar_row playback_server[] = {
    SHORT_FROM_SERVER,
    [SPICE_MSG_PLAYBACK_DATA] = M("DATA", 4, MIB(1), FLOW, .needs = STARTED),
    [SPICE_MSG_PLAYBACK_MODE] = M("MODE", 6, KIB(64), RARE),
    [SPICE_MSG_PLAYBACK_START] = M("START", 14, 14, RARE, .sets = STARTED),
    [SPICE_MSG_PLAYBACK_STOP] = M("STOP", 0, 0, RARE, .clears = STARTED),
    [SPICE_MSG_PLAYBACK_VOLUME] = M("VOLUME", 1, 1 + 2 * 255, USER),
    [SPICE_MSG_PLAYBACK_MUTE] = M("MUTE", 1, 1, USER),
    [SPICE_MSG_PLAYBACK_LATENCY] = M("LATENCY", 4, 4, FLOW),
};

static const struct kb_grammar_row record_server[] = {
    SHORT_FROM_SERVER,
    [SPICE_MSG_RECORD_START] = M("START", 10, 10, RARE, .sets = STARTED),
    [SPICE_MSG_RECORD_STOP] = M("STOP", 0, 0, RARE),
    [SPICE_MSG_RECORD_VOLUME] = M("VOLUME", 1, 1 + 2 * 255, USER),
    [SPICE_MSG_RECORD_MUTE] = M("MUTE", 1, 1, USER),
};

/* STOP does not end what the client may send: sound can be under way already. */
static const struct kb_grammar_row record_client[] = {
    FROM_CLIENT,
    [SPICE_MSGC_RECORD_DATA] = M("DATA", 4, MIB(1), FLOW, .needs = STARTED),
    [SPICE_MSGC_RECORD_MODE] = M("MODE", 6, KIB(64), RARE, .needs = STARTED),
    [SPICE_MSGC_RECORD_START_MARK] = M("START_MARK", 4, 4, RARE, .needs = STARTED),
};

static const struct kb_grammar_row smartcard_server[] = {
    SHORT_FROM_SERVER,
    [SPICE_MSG_SMARTCARD_DATA] = M("DATA", 12, MIB(1), FLOW),
};

/* The header's other four names of number 101 are kinds of DATA. */
static const struct kb_grammar_row smartcard_client[] = {
    FROM_CLIENT,
    [SPICE_MSGC_SMARTCARD_DATA] = M("DATA", 12, MIB(1), FLOW),
};

#define SPICEVMC(most, ...)                                                                        \
    [SPICE_MSG_SPICEVMC_DATA] = M("DATA", 0, most, BULK, .watched = true, __VA_ARGS__),            \
    [SPICE_MSG_SPICEVMC_COMPRESSED_DATA] =                                                         \
        M("COMPRESSED_DATA", 1, most, BULK, .watched = true, __VA_ARGS__)

static const struct kb_grammar_row usbredir_server[] = {
    SHORT_FROM_SERVER,
    SPICEVMC(MIB(1), .needs = 0),
};

static const struct kb_grammar_row usbredir_client[] = {
    FROM_CLIENT,
    SPICEVMC(USBREDIR_PACKET_MAX, .needs = 0),
};

/* Ports, webdav among them. The name in INIT says what the port is; nothing passes before it, and
 * it does not change. */
static const struct kb_grammar_row port_server[] = {
    SHORT_FROM_SERVER,
    SPICEVMC(MIB(1), .needs = OPEN),
    [SPICE_MSG_PORT_INIT] =
        M("INIT", 9, PORT_INIT_MAX, RARE, .bars = OPEN, .sets = OPEN, .watched = true),
    [SPICE_MSG_PORT_EVENT] = M("EVENT", 1, 1, USER, .needs = OPEN, .watched = true),
};

static const struct kb_grammar_row port_client[] = {
    FROM_CLIENT,
    SPICEVMC(MIB(16), .needs = OPEN),
    [SPICE_MSGC_PORT_EVENT] = M("EVENT", 1, 1, USER, .needs = OPEN, .watched = true),
};

static const struct kb_grammar_row only_server[] = {SHORT_FROM_SERVER};
static const struct kb_grammar_row only_client[] = {FROM_CLIENT};

#define V(rows, most)                                                                              \
    {                                                                                              \
        rows, sizeof(rows) / sizeof *(rows), most                                                  \
    }

const struct kb_vocabulary kb_grammar[KB_CHANNEL_END][KB_DIRECTIONS] = {
    [KB_CHANNEL_MAIN] = {V(main_client, 4096 + 11 * 2048), V(main_server, KIB(256))},
    [KB_CHANNEL_DISPLAY] = {V(display_client, 1024), V(display_server, MIB(256))},
    [KB_CHANNEL_INPUTS] = {V(inputs_client, 2048), V(inputs_server, KIB(64))},
    [KB_CHANNEL_CURSOR] = {V(only_client, 1024), V(cursor_server, MIB(16))},
    [KB_CHANNEL_PLAYBACK] = {V(only_client, 1024), V(playback_server, MIB(1))},
    [KB_CHANNEL_RECORD] = {V(record_client, MIB(1)), V(record_server, KIB(64))},
    [KB_CHANNEL_TUNNEL] = {V(only_client, KIB(64)), V(only_server, KIB(64))},
    [KB_CHANNEL_SMARTCARD] = {V(smartcard_client, MIB(1)), V(smartcard_server, MIB(1))},
    [KB_CHANNEL_USBREDIR] = {V(usbredir_client, USBREDIR_PACKET_MAX), V(usbredir_server, MIB(1))},
    [KB_CHANNEL_PORT] = {V(port_client, MIB(16)), V(port_server, MIB(1))},
    [KB_CHANNEL_WEBDAV] = {V(port_client, MIB(16)), V(port_server, MIB(1))},
};
/* clang-format on */

const struct kb_grammar_row kb_grammar_unknown = {
    .name = "unknown", .max = UINT32_MAX, .rate = BULK, .watched = true};

/* Generous by a factor of ten and more, because a second can be long on a busy machine. */
const uint32_t kb_rate_max[KB_RATES] = {
    [RARE] = 2000,
    [USER] = 20000,
    [FLOW] = UINT32_MAX,
    [BULK] = UINT32_MAX,
};

void kb_grammar_init(struct kb_grammar_walk *g, unsigned channel_type, bool observed)
{
    *g = (struct kb_grammar_walk){.channel_type = (uint8_t)channel_type, .observed = observed};
}

void kb_grammar_move(struct kb_grammar_walk *g)
{
    g->state &= (uint8_t)~KB_GRAMMAR_MIGRATING;
    g->again = g->channel_type != KB_CHANNEL_MAIN && g->channel_type != KB_CHANNEL_DISPLAY;
}

void kb_grammar_tick(struct kb_grammar_walk *g)
{
    for (int d = 0; d < KB_DIRECTIONS; d++)
        for (int r = 0; r < KB_RATES; r++)
            g->seen[d][r] = 0;
}

/* SpiceSubMessageList: u16 count, u32 offsets from the body's start; SpiceSubMessage: u16 type, u32
 * size, the body. The size is not what the body has on the wire: spice-server writes that of its
 * own structs in memory, which may end behind the LIST, and spice-gtk takes it for how far it may
 * read (spice_msg_in_sub_new). So the bodies are measured by what they count. */
enum { LIST_OFFSETS = 2, SUB_HEADER = 6 };

/* The size on the wire of an inner message's body, of which `len` bytes could be there; 0: it is
 * none that may be inside. */
static size_t measure(unsigned type, const uint8_t *body, size_t len)
{
    if (type == SPICE_MSG_WAIT_FOR_CHANNELS && len >= 1)
        return 1 + (size_t)body[0] * 10;
    if (type == SPICE_MSG_DISPLAY_INVAL_LIST && len >= 2)
        return 2 + (size_t)kb_get_u16(body) * 9;
    return 0;
}

bool kb_grammar_list_adds_up(struct kb_span list)
{
    if (list.len < LIST_OFFSETS)
        return false;
    size_t count = kb_get_u16(list.data);
    if (count > (list.len - LIST_OFFSETS) / 4)
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t at = kb_get_u32(list.data + LIST_OFFSETS + 4 * i);
        if (at > list.len || list.len - at < SUB_HEADER)
            return false;
        const uint8_t *body = list.data + at + SUB_HEADER;
        size_t left = list.len - at - SUB_HEADER;
        size_t size = measure(kb_get_u16(list.data + at), body, left);
        if (size == 0 || size > left)
            return false;
    }
    return true;
}
