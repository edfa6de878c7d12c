/*
 * What the client lends to the guest: a USB device and a smartcard, both made of software, so
 * that no hardware is needed. spice-gtk emulates a USB CD drive from an image file, and libcacard
 * a card from certificates in an NSS database.
 */

#include "client.h"

#include "../report.h"

static void on_usb_connected(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;
    (void)data;

    if (spice_usb_device_manager_connect_device_finish(SPICE_USB_DEVICE_MANAGER(source), result,
                                                       &error)) {
        report("usb_connected", "{}");
    } else {
        report("usb_failed", "{s:s}", "reason", error->message);
    }
}

static void on_usb_added(SpiceUsbDeviceManager *manager, SpiceUsbDevice *device, gpointer data)
{
    g_autofree char *description = spice_usb_device_get_description(device, NULL);
    (void)data;

    report("usb_device", "{s:s}", "description", description);
    if (spice_usb_device_manager_is_device_shared_cd(manager, device)) {
        spice_usb_device_manager_connect_device_async(manager, device, NULL, on_usb_connected,
                                                      NULL);
    }
}

static void on_usb_error(SpiceUsbDeviceManager *manager, SpiceUsbDevice *device, GError *error,
                         gpointer data)
{
    (void)manager;
    (void)device;
    (void)data;
    report("usb_failed", "{s:s}", "reason", error->message);
}

void redirect_watch_usb(struct client *client)
{
    g_autoptr(GError) error = NULL;

    client->usb = spice_usb_device_manager_get(client->session, &error);
    if (client->usb == NULL) {
        report("usb_unavailable", "{s:s}", "reason", error->message);
        return;
    }
    g_signal_connect(client->usb, "device-added", G_CALLBACK(on_usb_added), client);
    g_signal_connect(client->usb, "device-error", G_CALLBACK(on_usb_error), client);
}

void redirect_share_cd(struct client *client, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *copy = g_strdup(path);

    if (client->usb == NULL) {
        report("usb_failed", "{s:s}", "reason", "no USB in this client");
    } else if (!spice_usb_device_manager_create_shared_cd_device(client->usb, copy, &error)) {
        report("usb_failed", "{s:s}", "reason", error->message);
    }
}

static void on_card_inserted(SpiceSmartcardManager *manager, gpointer reader, gpointer data)
{
    (void)manager;
    (void)reader;
    (void)data;
    report("smartcard_inserted", "{}");
}

static void on_reader_added(SpiceSmartcardManager *manager, gpointer reader, gpointer data)
{
    (void)manager;
    (void)reader;
    (void)data;
    report("smartcard_reader", "{}");
}

void redirect_watch_smartcard(struct client *client)
{
    SpiceSmartcardManager *manager = spice_smartcard_manager_get();

    g_signal_connect(manager, "reader-added", G_CALLBACK(on_reader_added), client);
    g_signal_connect(manager, "card-inserted", G_CALLBACK(on_card_inserted), client);
}
