/* What SQLite itself can do on this file system: rows the size of a grant's, one commit each, as
 * durable as the store's (WAL, synchronous FULL), and nothing else. One thread.
 *
 *   sqlite_insert FILE SECONDS
 *
 * FILE is made anew. Says one JSON line. */
#include "measure.h"
#include "peer.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        die("%s: %s", sql, sqlite3_errmsg(db));
}

static sqlite3_stmt *prepare(sqlite3 *db)
{
    sqlite3_stmt *st;
    run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE t (id TEXT NOT NULL, source TEXT NOT NULL, uuid TEXT NOT NULL,"
            " user_name TEXT NOT NULL, hash BLOB NOT NULL, created_at INTEGER NOT NULL,"
            " expires_at INTEGER NOT NULL) STRICT");
    if (sqlite3_prepare_v2(db, "INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", -1, &st,
                           NULL) != SQLITE_OK)
        die("%s", sqlite3_errmsg(db));
    return st;
}

static void insert(sqlite3 *db, sqlite3_stmt *st, uint64_t i)
{
    unsigned char hash[32] = {0};
    char id[24];
    snprintf(id, sizeof id, "%022llu", (unsigned long long)i);
    memcpy(hash, &i, sizeof i);
    sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, "lab", -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, "00000000-0000-4000-8000-000000000001", -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 4, "somebody@example.org", -1, SQLITE_STATIC);
    sqlite3_bind_blob(st, 5, hash, sizeof hash, SQLITE_STATIC);
    sqlite3_bind_int64(st, 6, (sqlite3_int64)i);
    sqlite3_bind_int64(st, 7, (sqlite3_int64)i + 60000);
    if (sqlite3_step(st) != SQLITE_DONE)
        die("%s", sqlite3_errmsg(db));
    sqlite3_reset(st);
}

int main(int argc, char **argv)
{
    sqlite3 *db;
    if (argc != 3) {
        fprintf(stderr, "usage: sqlite_insert FILE SECONDS\n");
        return 2;
    }
    remove(argv[1]);
    if (sqlite3_open(argv[1], &db) != SQLITE_OK)
        die("%s: %s", argv[1], sqlite3_errmsg(db));
    sqlite3_stmt *st = prepare(db);
    struct latencies latencies = {0};
    uint64_t begin = now_ns(), end = begin + (uint64_t)(strtod(argv[2], NULL) * 1e9), rows = 0;
    uint64_t before = begin, now = begin;
    for (; now < end; before = now) {
        insert(db, st, rows++);
        now = now_ns();
        latencies_add(&latencies, (double)(now - before) / 1e3);
    }
    latencies_sort(&latencies);
    printf("{\"event\": \"over\", \"seconds\": %.6f, \"rows\": %llu, \"p50\": %.1f, \"p99\": "
           "%.1f}\n",
           (double)(now - begin) / 1e9, (unsigned long long)rows, latency_at(&latencies, 0.5),
           latency_at(&latencies, 0.99));
    sqlite3_finalize(st);
    sqlite3_close(db);
    return 0;
}
