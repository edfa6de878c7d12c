/*
 * Lends libspice-server the glib main loop: timers, watches on sockets, and the report of every
 * channel that comes and goes.
 */

#include "server.h"

#include "../report.h"

#include <spice/enums.h>

struct SpiceTimer {
    SpiceTimerFunc function;
    void *data;
    guint source;
};

struct SpiceWatch {
    SpiceWatchFunc function;
    void *data;
    GIOChannel *channel;
    guint source;
};

static gboolean on_timer(gpointer data)
{
    SpiceTimer *timer = data;

    timer->source = 0; /* before the call: it may start the timer again */
    timer->function(timer->data);
    return G_SOURCE_REMOVE;
}

static SpiceTimer *timer_add(SpiceTimerFunc function, void *data)
{
    SpiceTimer *timer = g_new0(SpiceTimer, 1);

    timer->function = function;
    timer->data = data;
    return timer;
}

static void timer_cancel(SpiceTimer *timer)
{
    if (timer->source != 0) {
        g_source_remove(timer->source);
        timer->source = 0;
    }
}

static void timer_start(SpiceTimer *timer, uint32_t milliseconds)
{
    timer_cancel(timer);
    timer->source = g_timeout_add(milliseconds, on_timer, timer);
}

static void timer_remove(SpiceTimer *timer)
{
    timer_cancel(timer);
    g_free(timer);
}

static gboolean on_ready(GIOChannel *channel, GIOCondition condition, gpointer data)
{
    SpiceWatch *watch = data;
    int mask = 0;

    if (condition & (G_IO_IN | G_IO_HUP | G_IO_ERR)) {
        mask |= SPICE_WATCH_EVENT_READ;
    }
    if (condition & G_IO_OUT) {
        mask |= SPICE_WATCH_EVENT_WRITE;
    }
    watch->function(g_io_channel_unix_get_fd(channel), mask, watch->data);
    return G_SOURCE_CONTINUE;
}

static void watch_update(SpiceWatch *watch, int mask)
{
    GIOCondition condition = 0;

    if (watch->source != 0) {
        g_source_remove(watch->source);
        watch->source = 0;
    }
    if (mask & SPICE_WATCH_EVENT_READ) {
        condition |= G_IO_IN;
    }
    if (mask & SPICE_WATCH_EVENT_WRITE) {
        condition |= G_IO_OUT;
    }
    if (condition != 0) {
        watch->source = g_io_add_watch(watch->channel, condition, on_ready, watch);
    }
}

static SpiceWatch *watch_add(int fd, int mask, SpiceWatchFunc function, void *data)
{
    SpiceWatch *watch = g_new0(SpiceWatch, 1);

    watch->function = function;
    watch->data = data;
    watch->channel = g_io_channel_unix_new(fd);
    watch_update(watch, mask);
    return watch;
}

static void watch_remove(SpiceWatch *watch)
{
    watch_update(watch, 0);
    g_io_channel_unref(watch->channel);
    g_free(watch);
}

static const char *event_name(int event)
{
    switch (event) {
    case SPICE_CHANNEL_EVENT_CONNECTED:
        return "connected";
    case SPICE_CHANNEL_EVENT_INITIALIZED:
        return "initialized";
    default:
        return "disconnected";
    }
}

static void channel_event(int event, SpiceChannelEventInfo *info)
{
    report("channel", "{s:s s:i s:i s:i s:b}", "state", event_name(event), "type", info->type, "id",
           info->id, "connection", info->connection_id, "tls",
           (info->flags & SPICE_CHANNEL_EVENT_FLAG_TLS) != 0);
}

SpiceCoreInterface core_interface = {
    .base =
        {
            .major_version = SPICE_INTERFACE_CORE_MAJOR,
            .minor_version = SPICE_INTERFACE_CORE_MINOR,
        },
    .timer_add = timer_add,
    .timer_start = timer_start,
    .timer_cancel = timer_cancel,
    .timer_remove = timer_remove,
    .watch_add = watch_add,
    .watch_update_mask = watch_update,
    .watch_remove = watch_remove,
    .channel_event = channel_event,
};
