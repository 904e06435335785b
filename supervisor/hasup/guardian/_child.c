/* Start a child that borrows the guardian's memory until its exec.
 *
 * A fork of an interpreter copies its page tables, and then every page that either side writes to; that is half of the
 * time from a crash to its replacement. A child made here copies nothing. In return it must not run Python, nor the C
 * library (whose thread-local data are the guardian's): it makes the system calls of a list that was written before,
 * on a stack of its own, and the guardian goes on meanwhile. vfork would make it wait, for a slow disk too.
 *
 * Called through ctypes by cloning.py, which lays out steps and stack and keeps them until the child is gone from here.
 */

#include <linux/sched.h>
#include <linux/types.h>
#include <sys/syscall.h>

#define EXPORT __attribute__((visibility("default")))
#define ENOENT 2
#define EACCES 13
#define MOST_ERRNO 4095

struct step {
    long call; /* a system call's number; or: */
    long arguments[5];
};
#define WRITE_PID -1L /* own pid, in decimal digits, to the address in arguments[0] */

struct failure { /* what is written to `report`; its first byte tells it from words */
    int mark, step, error;
};

struct child {
    const struct step *steps;
    long count;
    long report;
};

EXPORT const int hasup_layout = 1; /* counts up with any change that cloning.py must know of */

EXPORT const struct {
    const char *name;
    long number;
} hasup_calls[] = {
    {"chdir", SYS_chdir},
    {"close_range", SYS_close_range},
    {"dup3", SYS_dup3},
    {"execve", SYS_execve},
    {"prlimit64", SYS_prlimit64},
    {"rt_sigaction", SYS_rt_sigaction},
    {"rt_sigprocmask", SYS_rt_sigprocmask},
    {"setpriority", SYS_setpriority},
    {"setsid", SYS_setsid},
    {"umask", SYS_umask},
    {"write_pid", WRITE_PID},
    {0, 0},
};

#if !defined(__x86_64__)
#error "only written for x86-64 so far; elsewhere hasup forks"
#endif

static inline long call(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

static inline int failed(long result)
{
    return result < 0 && result >= -MOST_ERRNO;
}

static void write_pid(char *at)
{
    char digits[20];
    int length = 0;
    for (long pid = call(SYS_getpid, 0, 0, 0, 0, 0); pid > 0; pid /= 10)
        digits[length++] = (char)('0' + pid % 10);
    while (length > 0)
        *at++ = digits[--length];
}

/* One of several places where a program may be: 0 when it is not there, an error (negative) when it is no use. */
static long try_program(const struct step *step)
{
    const long *a = step->arguments;
    if (a[3] && failed(call(SYS_access, a[0], 0, 0, 0, 0))) /* it is looked for: this is far cheaper than to try */
        return 0;
    return call(SYS_execve, a[0], a[1], a[2], 0, 0);
}

/* In the child: all steps in turn. Never returns. */
__attribute__((noreturn)) static void become(const struct child *self)
{
    struct failure failure = {1, -1, ENOENT};
    for (long at = 0; at < self->count; at++) {
        const struct step *step = &self->steps[at];
        const long *a = step->arguments;
        long result = 0;
        if (step->call == WRITE_PID)
            write_pid((char *)a[0]);
        else if (step->call == SYS_execve)
            result = try_program(step);
        else
            result = call(step->call, a[0], a[1], a[2], a[3], a[4]);
        if (failed(result)) {
            failure = (struct failure){1, (int)at, (int)-result};
            if (step->call != SYS_execve || (result != -ENOENT && result != -EACCES))
                break; /* else it may be in the next place */
        }
    }
    call(SYS_write, self->report, (long)&failure, sizeof failure, 0, 0);
    for (;;)
        call(SYS_exit_group, 127, 0, 0, 0, 0);
}

/* The child's pid, or a negative errno. `cgroup`: a descriptor of the folder to be born in, or -1. The stack's top is
 * taken for what the child is told; it must be aligned to 16 bytes. */
EXPORT long hasup_spawn(const struct step *steps, long count, int report, int cgroup, char *stack, long size)
{
    struct child *child = (struct child *)(stack + size - 32);
    *child = (struct child){steps, count, report};
    struct clone_args arguments = {
        /* Handlers are the guardian's: a signal before the exec must not run one. */
        .flags = CLONE_VM | CLONE_CLEAR_SIGHAND | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
        .exit_signal = 17, /* SIGCHLD */
        .stack = (__u64)stack,
        .stack_size = (__u64)(size - 32),
        .cgroup = cgroup >= 0 ? (__u64)cgroup : 0,
    };
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "mov %[child], %%rdi\n\t"
                     "call *%[become]\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone3), "D"(&arguments), "S"(sizeof arguments), [child] "r"(child),
                       [become] "r"(become)
                     : "rcx", "r11", "memory", "cc");
    return result;
}
