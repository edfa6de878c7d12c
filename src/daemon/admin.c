/* Making the first administrator at the first start. Main thread. */
#include "daemon/admin.h"

#include "base/log.h"
#include "base/mem.h"
#include "identity/identity.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static bool write_password(const char *path, const char *password)
{
    unlink(path);
    kb_auto_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd >= 0 && dprintf(fd, "%s\n", password) > 0 && fsync(fd) == 0;
}

static bool has_users(struct kb_store *store, bool *failed)
{
    struct kb_store_list_users l = {.call.verb = KB_STORE_LIST_USERS};
    *failed = kb_store_run(store, &l.call) != KB_STORE_OK;
    bool any = l.count > 0;
    kb_store_list_users_finish(&l);
    return any;
}

bool kb_admin_ensure(struct kb_store *store, const char *state_dir)
{
    bool failed;
    if (has_users(store, &failed) || failed)
        return !failed;
    char password[KB_TOKEN_SIZE], hash[KB_PASSWORD_HASH_SIZE];
    kb_token_create(password);
    password[22] = '\0'; /* 132 bits are enough, and can still be typed */
    kb_auto_free char *path = kb_printf("%s/initial-admin-password", state_dir);
    struct kb_store_put_user put = {.call.verb = KB_STORE_PUT_USER,
                                    .name = "admin",
                                    .role = "admin",
                                    .password_hash = hash,
                                    .actor = "first start"};
    /* The file first: a user whose password nobody knows would lock the operator out. */
    bool ok = kb_password_hash(password, hash) && write_password(path, password) &&
              kb_store_run(store, &put.call) == KB_STORE_OK;
    kb_wipe(password, sizeof password);
    kb_wipe(hash, sizeof hash);
    if (ok)
        kb_log(KB_LOG_WARNING, "admin.created", KB_STR("user", "admin"),
               KB_STR("password_file", path));
    else
        kb_log(KB_LOG_ERROR, "admin.failed", KB_STR("password_file", path),
               KB_STR("detail", strerror(errno)));
    return ok;
}
