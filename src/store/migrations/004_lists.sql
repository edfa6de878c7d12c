-- One index a filter of each long list, in the order of the list, so that a page costs what it shows
-- and not what there is. SQLite appends the rowid, which is audit's id, to each of them. The partial
-- ones hold the rows that the other half of their filter (who it is about, or who did it; the console
-- by uuid, or by name) does not find.
CREATE INDEX audit_by_user ON audit (user_name, time);
CREATE INDEX audit_by_actor ON audit (actor, time) WHERE actor <> user_name;
CREATE INDEX audit_by_console ON audit (console, time);
CREATE INDEX audit_by_console_name ON audit (console_name, time)
    WHERE console_name <> console AND console_name <> '';
CREATE INDEX audit_by_event ON audit (event, time);
CREATE INDEX audit_by_source ON audit (source, time);

CREATE INDEX grants_by_creator ON grants (created_by, created_at, id);
CREATE INDEX consoles_by_source ON consoles (source, name, uuid);
