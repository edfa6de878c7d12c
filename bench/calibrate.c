/* How fast the machine is right now: two things that take the same time whenever nothing else runs,
 * and longer when something does. Two processes, on the two CPUs.
 *
 *   calibrate CPU CPU SECONDS
 *
 * One JSON line: AES-256-GCM of 16 KiB on the first CPU (Gbit a second), and bytes that go to a
 * process on the other CPU and come back (a second). Half of the time each. */
#include "peer.h"

#include <openssl/evp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECORD 16384

static void stay_on(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        die("CPU %u", cpu);
}

static double cipher(double seconds)
{
    static unsigned char in[RECORD], out[RECORD], key[32], iv[12];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint64_t start = now_ns(), now = start, count = 0;
    int n;
    if (!ctx || EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, iv) != 1)
        die("AES");
    for (; (double)(now - start) < seconds * 1e9; now = now_ns(), count++)
        if (EVP_EncryptUpdate(ctx, out, &n, in, RECORD) != 1)
            die("AES");
    EVP_CIPHER_CTX_free(ctx);
    return (double)count * RECORD * 8 / (double)(now - start);
}

static double round_trips(unsigned other_cpu, double seconds)
{
    int pair[2];
    char byte = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        die("a pair of sockets");
    if (fork() == 0) {
        close(pair[0]);
        stay_on(other_cpu);
        while (read(pair[1], &byte, 1) == 1 && write(pair[1], &byte, 1) == 1)
            ;
        _exit(0);
    }
    close(pair[1]);
    uint64_t start = 0, now = 0, count = 0;
    for (; (double)(now - start) < seconds * 1e9; now = now_ns(), count++) {
        if (write(pair[0], &byte, 1) != 1 || read(pair[0], &byte, 1) != 1)
            die("a round trip");
        if (!start) { /* the other is there */
            start = now_ns();
            count = 0;
        }
    }
    close(pair[0]);
    return (double)count * 1e9 / (double)(now - start);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: calibrate CPU CPU SECONDS\n");
        return 2;
    }
    double seconds = strtod(argv[3], NULL) / 2;
    stay_on((unsigned)strtoul(argv[1], NULL, 10));
    double gbit = cipher(seconds);
    printf("{\"cipher\": %.3f, \"round_trips\": %.0f}\n", gbit,
           round_trips((unsigned)strtoul(argv[2], NULL, 10), seconds));
    return 0;
}
