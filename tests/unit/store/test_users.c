/* Users, API keys and logins: each verb, what it says no to, and what it audits. */
#include "fixture.h"

static enum kb_store_status put_user(struct fixture *f, const char *name, const char *role,
                                     const char *hash, bool replace)
{
    struct kb_store_put_user c = {.call.verb = KB_STORE_PUT_USER,
                                  .name = name,
                                  .role = role,
                                  .password_hash = hash,
                                  .actor = "admin",
                                  .replace = replace};
    return RUN(f, c);
}

static struct kb_store_find_user find_user(struct fixture *f, const char *name)
{
    struct kb_store_find_user c = {.call.verb = KB_STORE_FIND_USER, .name = name};
    RUN(f, c);
    return c;
}

static void assert_user(struct fixture *f, const char *name, const char *role, const char *hash)
{
    struct kb_store_find_user c = find_user(f, name);
    assert_int_equal(c.call.status, KB_STORE_OK);
    assert_string_equal(c.row.name, name);
    assert_string_equal(c.row.role, role);
    assert_string_equal(c.row.password_hash, hash);
    kb_user_row_finish(&c.row);
}

static enum kb_store_status create_login(struct fixture *f, const char *token, const char *user,
                                         int64_t lasts)
{
    struct kb_store_create_login c = {.call.verb = KB_STORE_CREATE_LOGIN,
                                      .hash = hash_of(token),
                                      .user = user,
                                      .expires_at = test_now + lasts};
    return RUN(f, c);
}

static enum kb_store_status find_login(struct fixture *f, const char *token, const char *user,
                                       const char *role)
{
    struct kb_store_find_login c = {.call.verb = KB_STORE_FIND_LOGIN, .hash = hash_of(token)};
    RUN(f, c);
    if (c.call.status == KB_STORE_OK) {
        assert_string_equal(c.row.user, user);
        assert_string_equal(c.row.role ? c.row.role : "", role);
        assert_true(c.row.expires_at > test_now);
    } else {
        assert_null(c.row.user);
        assert_null(c.row.role);
    }
    kb_login_row_finish(&c.row);
    return c.call.status;
}

static void test_users(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_user(f, "zoe", "user", "h1", false), KB_STORE_OK);
    assert_int_equal(put_user(f, "al'ice", "admin", "h2", false), KB_STORE_OK);
    assert_int_equal(put_user(f, "zoe", "admin", "h3", false), KB_STORE_CONFLICT);
    assert_user(f, "zoe", "user", "h1");
    assert_user(f, "al'ice", "admin", "h2");
    assert_int_equal(find_user(f, "Zoe").call.status, KB_STORE_NOT_FOUND);
    assert_int_equal(count_events(f, "user.added"), 2);

    assert_int_equal(put_user(f, "zoe", "operator", NULL, true), KB_STORE_OK);
    assert_user(f, "zoe", "operator", "h1");
    assert_int_equal(put_user(f, "zoe", NULL, "h4", true), KB_STORE_OK);
    assert_user(f, "zoe", "operator", "h4");
    assert_int_equal(put_user(f, "zoe", "operator", NULL, true), KB_STORE_OK); /* as it is */
    assert_int_equal(put_user(f, "nobody", "user", "h", true), KB_STORE_NOT_FOUND);
    assert_int_equal(count_events(f, "user.changed"), 2);

    struct kb_store_list_users l = {.call.verb = KB_STORE_LIST_USERS};
    assert_int_equal(RUN(f, l), KB_STORE_OK);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.rows[0].name, "al'ice");
    assert_string_equal(l.rows[1].name, "zoe");
    assert_null(l.rows[1].password_hash);
    assert_int_equal(l.rows[1].created_at, test_now);
    kb_store_list_users_finish(&l);

    struct kb_store_remove_user r = {
        .call.verb = KB_STORE_REMOVE_USER, .name = "zoe", .actor = "admin"};
    assert_int_equal(RUN(f, r), KB_STORE_OK);
    assert_int_equal(RUN(f, r), KB_STORE_NOT_FOUND);
    struct kb_audit_event e = only_event(f, "user.removed");
    assert_string_equal(e.user, "zoe");
    assert_string_equal(e.actor, "admin");
    assert_int_equal(find_user(f, "zoe").call.status, KB_STORE_NOT_FOUND);
}

static void test_user_changed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_user(f, "zoe", "user", "h1", false), KB_STORE_OK);
    struct kb_store_put_user c = {.call.verb = KB_STORE_PUT_USER,
                                  .name = "zoe",
                                  .role = "operator",
                                  .password_hash = "h2",
                                  .actor = "root",
                                  .request_id = "r1",
                                  .client_address = "192.0.2.1",
                                  .replace = true};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    struct kb_audit_event e = only_event(f, "user.changed");
    assert_string_equal(e.user, "zoe");
    assert_string_equal(e.actor, "root");
    assert_string_equal(e.request_id, "r1");
    assert_string_equal(e.client_address, "192.0.2.1");
    assert_string_equal(e.detail, "role operator, was user; password");
}

static enum kb_store_status demote(struct fixture *f, const char *name, const char *role)
{
    struct kb_store_put_user c = {.call.verb = KB_STORE_PUT_USER,
                                  .name = name,
                                  .role = role,
                                  .replace = true,
                                  .keep_admin = true};
    return RUN(f, c);
}

static enum kb_store_status remove_user(struct fixture *f, const char *name, bool keep_admin)
{
    struct kb_store_remove_user c = {
        .call.verb = KB_STORE_REMOVE_USER, .name = name, .keep_admin = keep_admin};
    return RUN(f, c);
}

static void test_last_admin(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_user(f, "ada", "admin", "h", false), KB_STORE_OK);
    assert_int_equal(put_user(f, "bob", "operator", "h", false), KB_STORE_OK);
    assert_int_equal(demote(f, "ada", "user"), KB_STORE_CONFLICT);
    assert_int_equal(remove_user(f, "ada", true), KB_STORE_CONFLICT);
    assert_user(f, "ada", "admin", "h");
    assert_int_equal(count_events(f, "user.changed") + count_events(f, "user.removed"), 0);
    assert_int_equal(demote(f, "ada", "admin"), KB_STORE_OK); /* stays what it is */
    assert_int_equal(demote(f, "bob", "user"), KB_STORE_OK);  /* was none */
    assert_int_equal(demote(f, "bob", "admin"), KB_STORE_OK);
    assert_int_equal(demote(f, "ada", "user"), KB_STORE_OK); /* there is another now */
    assert_int_equal(demote(f, "bob", "none"), KB_STORE_CONFLICT);
    assert_int_equal(remove_user(f, "bob", true), KB_STORE_CONFLICT);
    assert_int_equal(remove_user(f, "ada", true), KB_STORE_OK);
    assert_int_equal(remove_user(f, "nobody", true), KB_STORE_NOT_FOUND);
    /* Who need not keep one, may. */
    assert_int_equal(put_user(f, "bob", "user", NULL, true), KB_STORE_OK);
    assert_int_equal(demote(f, "bob", "admin"), KB_STORE_OK);
    assert_int_equal(remove_user(f, "bob", false), KB_STORE_OK);
}

static void test_logins(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_login(f, "l0", "zoe", 1000), KB_STORE_NOT_FOUND);
    assert_int_equal(put_user(f, "zoe", "user", "h1", false), KB_STORE_OK);
    assert_int_equal(create_login(f, "l1", "zoe", 10000), KB_STORE_OK);
    assert_int_equal(create_login(f, "l2", "zoe", 10000), KB_STORE_OK);
    assert_int_equal(find_login(f, "l1", "zoe", "user"), KB_STORE_OK);
    assert_int_equal(find_login(f, "l9", "", ""), KB_STORE_NOT_FOUND);
    /* The role is the user's of today. */
    assert_int_equal(put_user(f, "zoe", "operator", NULL, true), KB_STORE_OK);
    assert_int_equal(find_login(f, "l1", "zoe", "operator"), KB_STORE_OK);

    struct kb_store_end_login end = {.call.verb = KB_STORE_END_LOGIN, .hash = hash_of("l1")};
    assert_int_equal(RUN(f, end), KB_STORE_OK);
    assert_int_equal(RUN(f, end), KB_STORE_NOT_FOUND);
    assert_int_equal(find_login(f, "l1", "", ""), KB_STORE_NOT_FOUND);

    test_now += 10000;
    assert_int_equal(find_login(f, "l2", "", ""), KB_STORE_NOT_FOUND);

    assert_int_equal(create_login(f, "l3", "zoe", 10000), KB_STORE_OK);
    assert_int_equal(put_user(f, "zoe", NULL, "new", true), KB_STORE_OK);
    assert_int_equal(find_login(f, "l3", "", ""), KB_STORE_NOT_FOUND);

    assert_int_equal(create_login(f, "l4", "zoe", 10000), KB_STORE_OK);
    struct kb_store_remove_user r = {.call.verb = KB_STORE_REMOVE_USER, .name = "zoe"};
    assert_int_equal(RUN(f, r), KB_STORE_OK);
    assert_int_equal(find_login(f, "l4", "", ""), KB_STORE_NOT_FOUND);
}

/* Users whom somebody else knows have no row of ours; their logins can be seen and ended. */
static void test_provided_logins(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_user(f, "zoe", "user", "h", false), KB_STORE_OK);
    assert_int_equal(create_login(f, "l0", "zoe", 10000), KB_STORE_OK);
    for (int i = 0; i < 3; i++) {
        char token[8] = {'k', (char)('0' + i)};
        struct kb_store_create_login c = {.call.verb = KB_STORE_CREATE_LOGIN,
                                          .hash = hash_of(token),
                                          .user = i < 2 ? "keystone:zoe" : "keystone:yan",
                                          .provider = "keystone",
                                          .alias = "keystone-id:7",
                                          .groups = "staff\nadmins",
                                          .client_address = "192.0.2.1",
                                          .expires_at = test_now + 10000 + i};
        assert_int_equal(RUN(f, c), KB_STORE_OK);
        assert_int_equal(strlen(c.id), KB_ID_SIZE - 1);
        test_now++;
    }
    struct kb_store_find_login found = {.call.verb = KB_STORE_FIND_LOGIN, .hash = hash_of("k0")};
    assert_int_equal(RUN(f, found), KB_STORE_OK);
    assert_string_equal(found.row.provider, "keystone");
    assert_string_equal(found.row.alias, "keystone-id:7");
    assert_string_equal(found.row.groups, "staff\nadmins");
    assert_null(found.row.role);

    struct kb_store_list_logins l = {.call.verb = KB_STORE_LIST_LOGINS};
    assert_int_equal(RUN(f, l), KB_STORE_OK);
    assert_int_equal(l.count, 4);
    assert_string_equal(l.rows[0].user, "keystone:yan");
    assert_string_equal(l.rows[0].client_address, "192.0.2.1");
    kb_store_list_logins_finish(&l);
    l.user = "keystone:zoe";
    assert_int_equal(RUN(f, l), KB_STORE_OK);
    assert_int_equal(l.count, 2);
    kb_store_list_logins_finish(&l);

    /* Removing the local user of nearly the same name touches none of them. */
    struct kb_store_remove_user r = {.call.verb = KB_STORE_REMOVE_USER, .name = "zoe"};
    assert_int_equal(RUN(f, r), KB_STORE_OK);
    assert_int_equal(find_login(f, "l0", "", ""), KB_STORE_NOT_FOUND);
    assert_int_equal(find_login(f, "k0", "keystone:zoe", ""), KB_STORE_OK);

    struct kb_store_end_logins e = {.call.verb = KB_STORE_END_LOGINS,
                                    .id = found.row.id,
                                    .user = "keystone:yan",
                                    .actor = "root"};
    assert_int_equal(RUN(f, e), KB_STORE_NOT_FOUND); /* another's */
    e.user = "keystone:zoe";
    assert_int_equal(RUN(f, e), KB_STORE_OK);
    struct kb_audit_event event = only_event(f, "login.ended");
    assert_string_equal(event.actor, "root");
    assert_string_equal(event.user, "keystone:zoe");
    assert_int_equal(find_login(f, "k0", "", ""), KB_STORE_NOT_FOUND);
    assert_int_equal(find_login(f, "k1", "keystone:zoe", ""), KB_STORE_OK);
    e.id = NULL;
    assert_int_equal(RUN(f, e), KB_STORE_OK);
    assert_int_equal(e.ended, 1);
    assert_int_equal(find_login(f, "k1", "", ""), KB_STORE_NOT_FOUND);
    e.user = NULL; /* nothing said: nothing ended */
    assert_int_equal(RUN(f, e), KB_STORE_NOT_FOUND);
    assert_int_equal(find_login(f, "k2", "keystone:yan", ""), KB_STORE_OK);
    kb_login_row_finish(&found.row);
}

static enum kb_store_status find_apikey(struct fixture *f, const char *key, const char *name)
{
    struct kb_store_find_apikey c = {.call.verb = KB_STORE_FIND_APIKEY, .hash = hash_of(key)};
    RUN(f, c);
    if (c.call.status == KB_STORE_OK)
        assert_string_equal(c.row.name, name);
    else
        assert_null(c.row.name);
    kb_apikey_row_finish(&c.row);
    return c.call.status;
}

static void test_apikeys(void **state)
{
    struct fixture *f = *state;
    struct kb_store_create_apikey c = {.call.verb = KB_STORE_CREATE_APIKEY,
                                       .name = "horizon",
                                       .role = "broker",
                                       .created_by = "admin",
                                       .hash = hash_of("k1"),
                                       .expires_at = 0};
    assert_int_equal(RUN(f, c), KB_STORE_OK);
    struct kb_audit_event e = only_event(f, "apikey.created");
    assert_string_equal(e.actor, "admin");
    assert_non_null(strstr(e.detail, "horizon"));
    assert_non_null(strstr(e.detail, c.id));
    struct kb_store_create_apikey same = c;
    assert_int_equal(RUN(f, same), KB_STORE_CONFLICT);
    struct kb_store_create_apikey short_lived = c;
    short_lived.hash = hash_of("k2");
    short_lived.name = "short";
    short_lived.expires_at = test_now + 1000;
    test_now++;
    assert_int_equal(RUN(f, short_lived), KB_STORE_OK);

    assert_int_equal(find_apikey(f, "k1", "horizon"), KB_STORE_OK);
    assert_int_equal(find_apikey(f, "k2", "short"), KB_STORE_OK);
    assert_int_equal(find_apikey(f, "k3", NULL), KB_STORE_NOT_FOUND);
    test_now += 1000;
    assert_int_equal(find_apikey(f, "k2", NULL), KB_STORE_NOT_FOUND);

    struct kb_store_revoke_apikey r = {
        .call.verb = KB_STORE_REVOKE_APIKEY, .id = c.id, .actor = "op"};
    assert_int_equal(RUN(f, r), KB_STORE_OK);
    assert_int_equal(RUN(f, r), KB_STORE_NOT_FOUND);
    e = only_event(f, "apikey.revoked");
    assert_string_equal(e.actor, "op");
    assert_non_null(strstr(e.detail, "horizon"));
    assert_int_equal(find_apikey(f, "k1", NULL), KB_STORE_NOT_FOUND);

    struct kb_store_list_apikeys l = {.call.verb = KB_STORE_LIST_APIKEYS};
    assert_int_equal(RUN(f, l), KB_STORE_OK);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.rows[0].id, c.id);
    assert_string_equal(l.rows[0].role, "broker");
    assert_string_equal(l.rows[0].created_by, "admin");
    assert_int_equal(l.rows[0].revoked_at, test_now);
    assert_int_equal(l.rows[1].revoked_at, 0);
    kb_store_list_apikeys_finish(&l);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(test_users),           TEST(test_user_changed),
                                       TEST(test_last_admin),      TEST(test_logins),
                                       TEST(test_provided_logins), TEST(test_apikeys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
