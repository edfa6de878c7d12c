/* The queries behind the long lists: consoles, grants, audit. Each is put together from the filters
 * that are set, and only those, so that every one of them is served by an index (migrations/) and
 * in the list's order. A test asks SQLite for the plan of each. Private to sqlite*.c. Pure. */
#ifndef KB_STORE_SQLITE_LISTS_H
#define KB_STORE_SQLITE_LISTS_H

#include "store/sqlite.h"

#define KB_QUERY_VALUES 12

/* SQL with ?1, ?2, ... and what they stand for. Texts are borrowed from the call and the cursor. */
struct kb_query {
    struct kb_buf sql;
    struct kb_bind values[KB_QUERY_VALUES];
    size_t count;
};
void kb_query_finish(struct kb_query *q);

/* rows: how many at most. Columns are those that the lists' own files read. */
void kb_query_consoles(struct kb_query *q, const struct kb_store_list_consoles *c,
                       const struct kb_cursor *after, unsigned rows);
void kb_query_grants(struct kb_query *q, const struct kb_store_list_grants *c,
                     const struct kb_cursor *after, unsigned rows);
void kb_query_audit(struct kb_query *q, const struct kb_store_list_audit *c,
                    const struct kb_cursor *after, unsigned rows);

/* Starts it; q must live until the rows are finished. */
struct kb_rows kb_query_start(struct kb_sqlite *db, const struct kb_query *q);

#endif
