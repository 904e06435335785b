/* The child of every supervisor that is measured: writes down that it runs, then waits.
 *
 *   child LOG SLOT          one line "SLOT PID NANOSECONDS" (CLOCK_MONOTONIC) in LOG, then waits for a signal
 *   child LOG SLOT beat     then a sign of life to NOTIFY_SOCKET each second
 *   child LOG SLOT N SIZE   then N lines of SIZE bytes on stdout, one more line in LOG, and waits
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void note(const char *log, const char *slot) {
    struct timespec now;
    char line[256];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%s %d %lld\n", slot, (int)getpid(),
                          (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    int fd = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0 || write(fd, line, (size_t)length) != length) _exit(3);
    close(fd);
}

static void beat(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *address = getenv("NOTIFY_SOCKET");
    if (!address) _exit(4);
    size_t length = strlen(address);
    memcpy(to.sun_path, address, length);
    if (to.sun_path[0] == '@') to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (;;) {
        sendto(fd, "WATCHDOG=1", 10, 0, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
        sleep(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    note(argv[1], argv[2]);
    if (argc == 4) beat();
    if (argc == 5) {
        long lines = atol(argv[3]), size = atol(argv[4]);
        char *line = malloc((size_t)size + 1);
        memset(line, 'x', (size_t)size);
        line[size - 1] = '\n';
        for (long n = 0; n < lines; n++) {
            int digits = snprintf(line, 20, "%012ld", n);
            line[digits] = ' ';
            fwrite(line, 1, (size_t)size, stdout);
        }
        fflush(stdout);
        note(argv[1], argv[2]);
    }
    for (;;) pause();
}
