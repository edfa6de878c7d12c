/* What a fake graphics card has nothing to say to. */
#include "server.h"

static void nothing(QXLInstance *qxl)
{
    (void)qxl;
}

static void set_level(QXLInstance *qxl, int level)
{
    (void)qxl;
    (void)level;
}

static void get_init_info(QXLInstance *qxl, QXLDevInitInfo *info)
{
    (void)qxl;
    *info = (QXLDevInitInfo){
        .num_memslots_groups = 1,
        .num_memslots = 1,
        .memslot_gen_bits = 1,
        .memslot_id_bits = 1,
        .n_surfaces = 16,
    };
}

static int get_cursor(QXLInstance *qxl, QXLCommandExt *ext)
{
    (void)qxl;
    (void)ext;
    return 0;
}

static int notify_cursor(QXLInstance *qxl)
{
    (void)qxl;
    return 1;
}

static void notify_update(QXLInstance *qxl, uint32_t update)
{
    (void)qxl;
    (void)update;
}

static int flush(QXLInstance *qxl)
{
    (void)qxl;
    return 0;
}

static void async_complete(QXLInstance *qxl, uint64_t cookie)
{
    (void)qxl;
    (void)cookie;
}

static void update_complete(QXLInstance *qxl, uint32_t surface, QXLRect *rects, uint32_t count)
{
    (void)qxl;
    (void)surface;
    (void)rects;
    (void)count;
}

static void set_capabilities(QXLInstance *qxl, uint8_t present, uint8_t *capabilities)
{
    (void)qxl;
    (void)present;
    (void)capabilities;
}

QXLInterface card_interface(const char *description)
{
    return (QXLInterface){
        .base =
            {
                .type = SPICE_INTERFACE_QXL,
                .description = description,
                .major_version = SPICE_INTERFACE_QXL_MAJOR,
                .minor_version = SPICE_INTERFACE_QXL_MINOR,
            },
        {.attached_worker = nothing},
        .set_compression_level = set_level,
        .get_init_info = get_init_info,
        .get_cursor_command = get_cursor,
        .req_cursor_notification = notify_cursor,
        .notify_update = notify_update,
        .flush_resources = flush,
        .async_complete = async_complete,
        .update_area_complete = update_complete,
        .set_client_capabilities = set_capabilities,
    };
}
