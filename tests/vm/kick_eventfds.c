/* SPDX-License-Identifier: MIT */
/*
 * A tool of qemu_io.sh, runs in the guest: kick_eventfds SECONDS COMMAND... runs a command and writes to each
 * of its eventfds, ten times a second, as a device's interrupt would; after that many seconds it kills it.
 * Exits with its status, 124 after a kill. QEMU's NVMe driver enables MSI-X after the admin queue exists;
 * QEMU's NVMe device (7.2) then never raises the vector for it, and the driver waits for ever unless its
 * commands complete at once. A spurious wake-up makes it look.
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The descriptor is the command's: a copy of it is written to. */
static void kick(int pidfd, int fd)
{
    const uint64_t one = 1;
    int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    if (copy < 0)
        return;
    if (write(copy, &one, sizeof(one)) < 0)
        perror("kick_eventfds: write");
    close(copy);
}

static void kick_all(pid_t pid, int pidfd)
{
    char path[64], target[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        target[len > 0 ? len : 0] = 0;
        if (strcmp(target, "anon_inode:[eventfd]") == 0)
            kick(pidfd, atoi(entry->d_name));
    }
    if (dir)
        closedir(dir);
}

int main(int argc, char **argv)
{
    const struct timespec pause = {.tv_nsec = 100000000};
    int status = 0;

    if (argc < 3) {
        fprintf(stderr, "usage: kick_eventfds SECONDS COMMAND...\n");
        return 125;
    }
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    time_t end = time(NULL) + atoi(argv[1]);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (time(NULL) > end) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return 124;
        }
        kick_all(pid, pidfd);
        nanosleep(&pause, NULL);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
