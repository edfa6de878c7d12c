/* TLS over a connection, with a BIO of ours between OpenSSL and the socket.
 *
 * Writing: the BIO puts records into the connection's queue and never refuses, so all records of
 * one wake-up leave in one system call. Reading in bulk: the socket is read into the loop's scratch
 * space, many records at once, and OpenSSL is fed from there until nothing is left; an unfinished
 * record stays in OpenSSL's own buffer. Small reads (handshake, link) let OpenSSL read the socket,
 * record by record, so that nothing is ever read too early. The loop's thread. */
#include "net/conn_tls.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>

/* What OpenSSL may hold of an unfinished record: 16384 bytes of text, 256 of expansion, 5 of header
 * (RFC 8446, 5.2). A bulk read leaves that much room, so that all of it can always come out. */
#define RECORD_MAX (16384 + 256 + 5)

static int bio_write(BIO *b, const char *data, int len)
{
    kb_conn_put(BIO_get_data(b), kb_span(data, (size_t)len));
    return len;
}

static int bio_read(BIO *b, char *to, int len)
{
    struct kb_conn *c = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (c->in.len) {
        size_t n = c->in.len < (size_t)len ? c->in.len : (size_t)len;
        memcpy(to, c->in.data, n);
        c->in.data += n;
        c->in.len -= n;
        return (int)n;
    }
    if (!c->direct) {
        BIO_set_retry_read(b);
        return -1;
    }
    ssize_t n;
    do
        n = recv(c->fd, to, (size_t)len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        BIO_set_retry_read(b);
    return (int)n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kerbside connection");
    if (!method)
        abort();
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

void kb_conn_tls_init(struct kb_conn *c, SSL_CTX *ctx)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    c->ssl = SSL_new(ctx);
    BIO *b = BIO_new(method);
    if (!c->ssl || !b)
        abort();
    BIO_set_data(b, c);
    BIO_set_init(b, 1);
    SSL_set_bio(c->ssl, b, b);
}

/* Puts OpenSSL's own words, or the system's, into detail. */
static enum kb_io explain(struct kb_conn *c, int result)
{
    int saved = errno;
    unsigned long e = ERR_peek_error();
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return KB_IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return KB_IO_END;
    case SSL_ERROR_SYSCALL:
        /* errno alone tells: SSL_read_ex says 0 for every failure, a reset too. */
        if (saved == 0) {
            kb_copy_str(c->detail, sizeof c->detail, "the peer closed the connection");
            return KB_IO_END;
        }
        kb_copy_str(c->detail, sizeof c->detail, strerror(saved));
        return KB_IO_ERROR;
    default:
        /* A peer that leaves without close_notify is everyday life with SPICE; messages have their
         * own lengths, so a cut is seen by whoever parses them. */
        if (ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            kb_copy_str(c->detail, sizeof c->detail, "the peer closed the connection");
            ERR_clear_error();
            return KB_IO_END;
        }
        const char *reason = ERR_reason_error_string(e);
        kb_copy_str(c->detail, sizeof c->detail, reason ? reason : "TLS protocol error");
        ERR_clear_error();
        return KB_IO_ERROR;
    }
}

enum kb_io kb_conn_tls_handshake(struct kb_conn *c)
{
    ERR_clear_error();
    errno = 0;
    c->direct = true;
    int r = SSL_do_handshake(c->ssl);
    c->direct = false;
    if (r == 1) {
        c->verify_result = SSL_get_verify_result(c->ssl);
        return KB_IO_OK;
    }
    enum kb_io io = explain(c, r);
    if (io != KB_IO_AGAIN) {
        c->verify_result = SSL_get_verify_result(c->ssl);
        if (c->verify_result != X509_V_OK)
            kb_copy_str(c->detail, sizeof c->detail,
                        X509_verify_cert_error_string(c->verify_result));
    }
    return io;
}

static enum kb_io read_small(struct kb_conn *c, void *to, size_t n, size_t *got)
{
    ERR_clear_error();
    errno = 0;
    c->direct = true;
    int r = SSL_read_ex(c->ssl, to, n, got);
    c->direct = false;
    c->emptied = false;
    return r == 1 ? KB_IO_OK : explain(c, r);
}

static enum kb_io read_bulk(struct kb_conn *c, uint8_t *to, size_t n, size_t *got)
{
    ssize_t r;
    size_t most = n - RECORD_MAX < KB_BLOCK_SIZE ? n - RECORD_MAX : KB_BLOCK_SIZE;
    do
        r = recv(c->fd, c->loop->scratch, most, 0);
    while (r < 0 && errno == EINTR);
    if (r < 0 && errno != EAGAIN) {
        kb_copy_str(c->detail, sizeof c->detail, strerror(errno));
        return KB_IO_ERROR;
    }
    /* Without new bytes OpenSSL may still hold text that a smaller read left behind. */
    c->in = kb_span(c->loop->scratch, r > 0 ? (size_t)r : 0);
    enum kb_io io = KB_IO_OK;
    while (io == KB_IO_OK && *got < n) {
        size_t more = 0;
        ERR_clear_error();
        errno = 0;
        int done = SSL_read_ex(c->ssl, to + *got, n - *got, &more);
        io = done == 1 ? KB_IO_OK : explain(c, done);
        *got += more;
    }
    if (c->in.len && io != KB_IO_END && io != KB_IO_ERROR)
        abort(); /* RECORD_MAX is wrong: bytes would be lost */
    c->in = kb_span(NULL, 0);
    c->emptied = io == KB_IO_AGAIN && r != 0 && r < (ssize_t)most;
    /* What came before the end or the error is good; they will be met again by the next read. */
    if (*got)
        return KB_IO_OK;
    if (r == 0 && io == KB_IO_AGAIN)
        return KB_IO_END;
    return io;
}

enum kb_io kb_conn_tls_read(struct kb_conn *c, void *to, size_t n, size_t *got)
{
    *got = 0;
    return n >= KB_CONN_BULK ? read_bulk(c, to, n, got) : read_small(c, to, n, got);
}

bool kb_conn_tls_write(struct kb_conn *c, struct kb_span bytes)
{
    size_t written = 0;
    ERR_clear_error();
    if (SSL_write_ex(c->ssl, bytes.data, bytes.len, &written) == 1 && written == bytes.len)
        return true;
    explain(c, 0);
    return false;
}

void kb_conn_tls_goodbye(struct kb_conn *c)
{
    ERR_clear_error();
    (void)SSL_shutdown(c->ssl);
    ERR_clear_error();
}

/* To OpenSSL a connection that ends without close_notify has a bad session. Since TLS 1.1 it is as
 * good as any (RFC 4346 7.2.1), and most of ours end like that. */
void kb_conn_tls_finish(struct kb_conn *c)
{
    if (c->ssl && !c->handshaking)
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
}
