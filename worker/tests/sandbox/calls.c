/* Makes system calls that a step may or may not make, and prints what came of each: its name with `ok` or an error.
   Every call is made in a process of its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct probe {
    const char *name;
    long number;
    long arguments[6];
};

/* What a call between namespaces or to a device would need beside permission is left zero: it is refused first. */
static const struct probe probes[] = {
    {"keyctl", SYS_keyctl, {0, -3, 0}},
    {"add_key", SYS_add_key, {0}},
    {"request_key", SYS_request_key, {0}},
    {"bpf", SYS_bpf, {0}},
    {"perf_event_open", SYS_perf_event_open, {0}},
    {"userfaultfd", SYS_userfaultfd, {1}},
    {"io_uring_setup", SYS_io_uring_setup, {1, 0}},
    {"kexec_load", SYS_kexec_load, {0}},
    {"init_module", SYS_init_module, {0}},
    {"mount", SYS_mount, {0}},
    {"umount2", SYS_umount2, {0}},
    {"pivot_root", SYS_pivot_root, {0}},
    {"fsopen", SYS_fsopen, {0}},
    {"open_tree", SYS_open_tree, {-100, 0, 1}},
    {"open_by_handle_at", SYS_open_by_handle_at, {-1, 0, 0}},
    {"unshare(NEWUSER)", SYS_unshare, {CLONE_NEWUSER}},
    {"unshare(FS)", SYS_unshare, {CLONE_FS}},
    {"setns", SYS_setns, {0}},
    {"clone(NEWUSER)", SYS_clone, {CLONE_NEWUSER | SIGCHLD}},
    {"clone(NEWNS)", SYS_clone, {CLONE_NEWNS | SIGCHLD}},
    {"clone(SIGCHLD)", SYS_clone, {SIGCHLD}},
    {"clone3", SYS_clone3, {0}},
    {"sethostname", SYS_sethostname, {0}},
    {"settimeofday", SYS_settimeofday, {0}},
    {"syslog", SYS_syslog, {10}},
    {"reboot", SYS_reboot, {0}},
    {"swapon", SYS_swapon, {0}},
    {"acct", SYS_acct, {0}},
    {"quotactl", SYS_quotactl, {0}},
    {"kcmp", SYS_kcmp, {0}},
    {"pidfd_getfd", 438, {-1, 0, 0}},
    {"set_mempolicy", SYS_set_mempolicy, {0}},
    {"personality(0)", SYS_personality, {0}},
    {"personality(LINUX32)", SYS_personality, {8}},
    {"personality(?)", SYS_personality, {0xffffffff}},
    {"personality(NO_RANDOM)", SYS_personality, {0x40000}},
    {"personality(READ_IMPLIES_EXEC)", SYS_personality, {0x400000}},
    {"socket(UNIX)", SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
    {"socket(INET)", SYS_socket, {AF_INET, SOCK_STREAM, 0}},
    {"socket(NETLINK)", SYS_socket, {AF_NETLINK, SOCK_RAW, 0}},
    {"socket(ALG)", SYS_socket, {AF_ALG, SOCK_SEQPACKET, 0}},
    {"socket(VSOCK)", SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}},
    {"ptrace(TRACEME)", SYS_ptrace, {PTRACE_TRACEME}},
    {"process_vm_readv", SYS_process_vm_readv, {1, 0, 0, 0, 0, 0}},
    {"seccomp(AVAIL)", SYS_seccomp, {SECCOMP_GET_ACTION_AVAIL, 0, (long)&(unsigned){SECCOMP_RET_ALLOW}}},
    {"memfd_create", SYS_memfd_create, {(long)"x", 0}},
    {"openat2", 437, {-100, (long)"/", (long)&(unsigned long[3]){0}, 24}},
    {"pidfd_open", 434, {1, 0}},
    {"chroot", SYS_chroot, {(long)"/"}},
    {"number 999", 999, {0}},
#ifdef __x86_64__
    {"nfsservctl", 180, {0}},
    {"modify_ldt", SYS_modify_ldt, {0}},
    {"iopl", SYS_iopl, {3}},
#endif
};

/* The kernel ignores the upper half of this argument; Docker's filter takes it for another family. */
static const struct probe wide[] = {
    {"socket(VSOCK + 2^32)", SYS_socket, {AF_VSOCK + (1L << 32), SOCK_STREAM, 0}},
};

#ifdef __x86_64__
/* By the 32-bit entry; numbers of asm/unistd_32.h. */
static const struct probe by_interrupt[] = {
    {"x86 getpid", 20, {0}},
    {"x86 mount", 21, {0}},
    {"x86 keyctl", 288, {0, -3, 0}},
    {"x86 unshare(NEWUSER)", 310, {CLONE_NEWUSER}},
    {"x86 clone(NEWUSER)", 120, {CLONE_NEWUSER | SIGCHLD}},
    {"x86 clone3", 435, {0}},
    {"x86 bpf", 357, {0}},
    {"x86 socket(UNIX)", 359, {AF_UNIX, SOCK_STREAM, 0}},
    {"x86 socket(VSOCK)", 359, {AF_VSOCK, SOCK_STREAM, 0}},
    {"x86 personality(NO_RANDOM)", 136, {0x40000}},
    {"x86 number 999", 999, {0}},
};

/* With the mark of x32. */
static const struct probe marked[] = {
    {"x32 keyctl", 0x40000000 + 250, {0, -3, 0}},
    {"x32 mount", 0x40000000 + 165, {0}},
    {"x32 unshare(NEWUSER)", 0x40000000 + 272, {CLONE_NEWUSER}},
    {"x32 ptrace", 0x40000000 + 101, {0}},
    {"x32 kexec_load", 0x40000000 + 528, {0}},
    {"x32 number 999", 0x40000000 + 999, {0}},
};

static long interrupt(const struct probe *probe) {
    long result;
    const long *with = probe->arguments;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(probe->number), "b"(with[0]), "c"(with[1]), "d"(with[2]), "S"(with[3]), "D"(with[4])
                     : "memory", "r8", "r9", "r10", "r11");
    /* 32 bits of it are the answer. */
    return (int)result;
}
#endif

static long enter(const struct probe *probe) {
    const long *with = probe->arguments;
    long result = syscall(probe->number, with[0], with[1], with[2], with[3], with[4], with[5]);
    return result < 0 ? -errno : result;
}

static void run(const struct probe *probe, long (*how)(const struct probe *)) {
    pid_t caller = getpid();
    pid_t child = fork();
    if (child == 0) {
        caller = getpid();
        long result = how(probe);
        if (getpid() != caller)
            _exit(0);
        if (result < 0)
            printf("%s: %s\n", probe->name, strerrorname_np(-result) ? strerrorname_np(-result) : "?");
        else
            printf("%s: ok\n", probe->name);
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        printf("%s: signal %d\n", probe->name, WTERMSIG(status));
    fflush(stdout);
}

#define RUN_ALL(list, how)                                              \
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)         \
    run(&list[i], how)

/* What strace(1) does: counts the stops of a child at its calls, or prints why it cannot. */
static int trace(void) {
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        getppid();
        _exit(7);
    }
    int status, stops = 0;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        stops++;
        if (ptrace(PTRACE_SYSCALL, child, 0, 0))
            perror("ptrace");
    }
    printf("%s\n", stops > 2 && WEXITSTATUS(status) == 7 ? "traced" : "not traced");
    return 0;
}

/* `calls` makes all of them; `calls trace` traces a child; `calls keyring` prints the number of the session's keyring; `calls time N` calls getppid N times and prints the nanoseconds of one. */
int main(int count, char **arguments) {
    if (count == 3 && !strcmp(arguments[1], "time")) {
        struct timespec from, to;
        long times = atol(arguments[2]);
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (long i = 0; i < times; i++)
            syscall(SYS_getppid);
        clock_gettime(CLOCK_MONOTONIC, &to);
        printf("%.1f\n", ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / times);
        return 0;
    }
    if (count == 2 && !strcmp(arguments[1], "trace"))
        return trace();
    if (count == 2 && !strcmp(arguments[1], "keyring")) {
        /* KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING. */
        printf("%ld\n", syscall(SYS_keyctl, 0, -3, 0));
        return 0;
    }
    RUN_ALL(probes, enter);
#ifdef __x86_64__
    RUN_ALL(by_interrupt, interrupt);
    RUN_ALL(marked, enter);
#endif
    RUN_ALL(wide, enter);
    return 0;
}
