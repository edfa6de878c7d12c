-- What clouds say of a console beside its name and address.

ALTER TABLE consoles ADD COLUMN project TEXT;
ALTER TABLE consoles ADD COLUMN state TEXT;
ALTER TABLE consoles ADD COLUMN protocol TEXT NOT NULL DEFAULT 'spice'; -- spice, vnc, serial
ALTER TABLE consoles ADD COLUMN transport TEXT NOT NULL DEFAULT 'tcp'; -- tcp, unix, connect, websocket, source
