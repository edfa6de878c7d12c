/* Which capabilities are told to whom. The two tables of the proxy: what a client hears of us, and
 * what a hypervisor hears of the client. Not here: finding the words inside a link message
 * (link_*.c). Pure: any thread, no state.
 *
 * A server's capability bit mostly permits a client to send something. So a client hears of a bit
 * only if what follows hurts no server that may be behind us. What the client does was read in
 * spice-gtk 0.42 (every call of spice_channel_test_capability), what servers do in spice-server
 * 0.15.1:
 *
 * - main: NAME_AND_UUID, AGENT_CONNECTED_TOKENS; the client does not act on them. Neither migration
 *   bit: a client never takes part in a migration, which is ours (proxy/migrate.h). For the same
 *   reason a hypervisor hears of both, whatever the client says: SEAMLESS for the migration itself,
 *   SEMI_SEAMLESS because only with it a migration that came to nothing is told (MIGRATE_CANCEL).
 * - display: MONITORS_CONFIG; the client waits for the server's list of heads before it shows one,
 *   and servers have sent it since 0.11.3 (2012). STREAM_REPORT; sent for streams only, mostly when
 *   the server asked; known since 2013. PREF_COMPRESSION, PREF_VIDEO_CODEC_TYPE; sent only when the
 *   user asks for them by an option.
 * - inputs: KEY_SCANCODE; key down and up in one message, which servers take since 0.11.3 too.
 * - playback: VOLUME, OPUS; not acted on, the server picks the codec by the client's bits.
 * - record: VOLUME; not acted on. OPUS; the client sends Opus in place of raw samples (1.5 Mbit/s).
 *   A server built without Opus would end the channel; none such is known to us.
 * - usbredir, port, webdav: not DATA_COMPRESS_LZ4. With it spice-gtk compresses what a USB device
 *   sends, and a server built without LZ4, which is a build option, ends the channel at the first
 *   such message. Without it the client sends plain data, which every server takes. A server
 *   compresses by the client's bit, so that is taken out as well: what is inside these channels is
 *   read by the policy (policy/usbredir.h, policy/webdav.h). */
#include "spice/caps.h"

#include <spice/protocol.h>

#define BIT(cap) (UINT32_C(1) << (cap))

static bool has(const uint32_t *words, unsigned count, unsigned bit)
{
    return bit / 32 < count && (words[bit / 32] & BIT(bit % 32));
}

bool kb_caps_has_common(const struct kb_caps *c, unsigned bit)
{
    return has(c->common, c->common_words, bit);
}

bool kb_caps_has_channel(const struct kb_caps *c, unsigned bit)
{
    return has(c->channel, c->channel_words, bit);
}

void kb_caps_for_client(unsigned channel_type, struct kb_caps *out)
{
    static const uint32_t channel[KB_CHANNEL_END] = {
        [KB_CHANNEL_MAIN] =
            BIT(SPICE_MAIN_CAP_NAME_AND_UUID) | BIT(SPICE_MAIN_CAP_AGENT_CONNECTED_TOKENS),
        [KB_CHANNEL_DISPLAY] =
            BIT(SPICE_DISPLAY_CAP_MONITORS_CONFIG) | BIT(SPICE_DISPLAY_CAP_STREAM_REPORT) |
            BIT(SPICE_DISPLAY_CAP_PREF_COMPRESSION) | BIT(SPICE_DISPLAY_CAP_PREF_VIDEO_CODEC_TYPE),
        [KB_CHANNEL_INPUTS] = BIT(SPICE_INPUTS_CAP_KEY_SCANCODE),
        [KB_CHANNEL_PLAYBACK] = BIT(SPICE_PLAYBACK_CAP_VOLUME) | BIT(SPICE_PLAYBACK_CAP_OPUS),
        [KB_CHANNEL_RECORD] = BIT(SPICE_RECORD_CAP_VOLUME) | BIT(SPICE_RECORD_CAP_OPUS),
    };
    *out = (struct kb_caps){.common_words = 1};
    out->common[0] = BIT(SPICE_COMMON_CAP_PROTOCOL_AUTH_SELECTION) |
                     BIT(SPICE_COMMON_CAP_AUTH_SPICE) | BIT(SPICE_COMMON_CAP_MINI_HEADER);
    if (channel_type < KB_CHANNEL_END && channel[channel_type]) {
        out->channel[0] = channel[channel_type];
        out->channel_words = 1;
    }
}

void kb_caps_for_server(unsigned channel_type, const struct kb_caps *client, struct kb_caps *out)
{
    *out = *client;
    if (!out->common_words) {
        out->common[0] = 0;
        out->common_words = 1;
    }
    out->common[0] |= BIT(SPICE_COMMON_CAP_PROTOCOL_AUTH_SELECTION) |
                      BIT(SPICE_COMMON_CAP_AUTH_SPICE) | BIT(SPICE_COMMON_CAP_MINI_HEADER);
    out->common[0] &= ~BIT(SPICE_COMMON_CAP_AUTH_SASL);
    if (channel_type == KB_CHANNEL_MAIN) {
        if (!out->channel_words)
            out->channel[0] = 0;
        if (!out->channel_words)
            out->channel_words = 1;
        out->channel[0] |=
            BIT(SPICE_MAIN_CAP_SEMI_SEAMLESS_MIGRATE) | BIT(SPICE_MAIN_CAP_SEAMLESS_MIGRATE);
    }
    if (!out->channel_words)
        return;
    if (channel_type == KB_CHANNEL_DISPLAY)
        out->channel[0] &= ~BIT(SPICE_DISPLAY_CAP_GL_SCANOUT);
    if (channel_type == KB_CHANNEL_USBREDIR || channel_type == KB_CHANNEL_PORT ||
        channel_type == KB_CHANNEL_WEBDAV)
        out->channel[0] &= ~BIT(SPICE_SPICEVMC_CAP_DATA_COMPRESS_LZ4);
}
