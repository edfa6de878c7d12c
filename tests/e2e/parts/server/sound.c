/*
 * Sound both ways: a square wave for the client's loudspeaker, and a count of what its microphone
 * sends.
 */

#include "server.h"

#include "../report.h"

#include <spice/macros.h>
#include <stdlib.h>

enum {
    TICK_MS = 10,
    AMPLITUDE = 6000,
    HALF_PERIOD = 50, /* samples: about 480 Hz at 48 kHz */
    LOUD = 256,       /* nearer to zero is silence or a codec's noise */
};

static gboolean play(gpointer data)
{
    struct server *server = data;
    uint32_t *frames = NULL;
    uint32_t count = 0;

    spice_server_playback_get_buffer(&server->playback, &frames, &count);
    if (frames == NULL) {
        return G_SOURCE_CONTINUE; /* nobody listens, or the client is behind */
    }
    for (uint32_t i = 0; i < count; i++) {
        bool up = (server->playback_position++ / HALF_PERIOD) % 2 != 0;
        uint16_t value = (uint16_t)(int16_t)(up ? AMPLITUDE : -AMPLITUDE);
        frames[i] = (uint32_t)value | (uint32_t)value << 16;
    }
    spice_server_playback_put_samples(&server->playback, frames);
    return G_SOURCE_CONTINUE;
}

static const SpicePlaybackInterface playback_interface = {
    .base =
        {
            .type = SPICE_INTERFACE_PLAYBACK,
            .description = "loudspeaker",
            .major_version = SPICE_INTERFACE_PLAYBACK_MAJOR,
            .minor_version = SPICE_INTERFACE_PLAYBACK_MINOR,
        },
};

void sound_add_playback(struct server *server)
{
    server->playback.base.sif = &playback_interface.base;
    spice_server_add_interface(server->spice, &server->playback.base);
    spice_server_set_playback_rate(&server->playback, 48000);
    spice_server_playback_start(&server->playback);
    g_timeout_add(TICK_MS, play, server);
}

static gboolean listen_to_record(gpointer data)
{
    struct server *server = data;
    uint32_t frames[1024];
    uint32_t count = spice_server_record_get_samples(&server->record, frames, G_N_ELEMENTS(frames));
    bool was_silent = server->loud_recorded_samples == 0;

    server->recorded_samples += count;
    for (uint32_t i = 0; i < count; i++) {
        int16_t left = (int16_t)(uint16_t)(frames[i] & 0xffff);
        if (abs(left) >= LOUD) {
            server->loud_recorded_samples++;
        }
    }
    if (was_silent && server->loud_recorded_samples > 0) {
        report("record_loud", "{s:i s:I}", "server", server->index, "samples",
               (json_int_t)server->recorded_samples);
    }
    return G_SOURCE_CONTINUE;
}

static const SpiceRecordInterface record_interface = {
    .base =
        {
            .type = SPICE_INTERFACE_RECORD,
            .description = "microphone",
            .major_version = SPICE_INTERFACE_RECORD_MAJOR,
            .minor_version = SPICE_INTERFACE_RECORD_MINOR,
        },
};

void sound_add_record(struct server *server)
{
    server->record.base.sif = &record_interface.base;
    spice_server_add_interface(server->spice, &server->record.base);
    spice_server_set_record_rate(&server->record, 48000);
    spice_server_record_start(&server->record);
    g_timeout_add(TICK_MS, listen_to_record, server);
}
