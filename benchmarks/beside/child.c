/* The child of every supervisor that is measured: writes down that it runs, then waits.
 *
 *   child LOG SLOT          one line "SLOT PID NANOSECONDS" (CLOCK_MONOTONIC) in LOG, then waits for a signal
 *   child LOG SLOT N SIZE   then N lines of SIZE bytes on stdout, one more line in LOG, and waits
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    note(argv[1], argv[2]);
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
