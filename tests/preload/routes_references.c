/* SPDX-License-Identifier: MIT */
/*
 * Pages that somebody else holds by reference: what is in a pipe, or on its way to a socket, is what the program gave, also
 * after it has purged or replaced registered memory, whose pages stay where they are.
 * @env ANYDMA_IOMMU=sim ANYDMA_MODE=eager
 */
#include "expect.h"
#include "mapped.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, LEN = 32 * PAGE, RW = PROT_READ | PROT_WRITE, ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS };

static char *map(void)
{
    char *at = mmap(NULL, LEN, RW, ANONYMOUS, -1, 0);
    memset(at, 5, LEN);
    EXPECT(!mapped_hole(at, LEN));
    return at;
}

static void purge(char *at)
{
    EXPECT(madvise(at, LEN, MADV_DONTNEED) == 0 && *at == 0 && !mapped_hole(at, LEN));
}

static void replace(char *at)
{
    EXPECT(mmap(at, LEN, RW, ANONYMOUS | MAP_FIXED, -1, 0) == at && *at == 0 && !mapped_hole(at, LEN));
}

static void (*const ways[])(char *at) = {purge, replace};

static bool are_fives(const char *at, size_t len)
{
    return len && *at == 5 && memcmp(at, at + 1, len - 1) == 0;
}

static void what_a_pipe_holds_stays(void)
{
    for (int i = 0; i < 4; i++) {
        int ends[2];
        char got[LEN], *at = map();
        struct iovec parts[] = {{at + 100, PAGE}, {at + 2 * PAGE, 0}, {at + 2 * PAGE + 1, 200}};
        EXPECT(pipe(ends) == 0);
        EXPECT((i < 2 ? vmsplice(ends[1], parts, 3, 0) : syscall(SYS_vmsplice, ends[1], parts, 3L, 0L)) ==
               PAGE + 200);
        ways[i % 2](at);
        EXPECT(read(ends[0], got, sizeof(got)) == PAGE + 200 && are_fives(got, PAGE + 200));
        close(ends[0]);
        close(ends[1]);
        munmap(at, LEN);
    }
}

static void a_pipe_is_read_and_refuses_as_ever(void)
{
    int ends[2];
    char *at = map();
    struct iovec part = {at, PAGE}, bad = {(void *)8, PAGE};
    EXPECT(pipe2(ends, O_NONBLOCK) == 0 && write(ends[1], "abc", 3) == 3);
    EXPECT(vmsplice(ends[0], &part, 1, 0) == 3 && memcmp(at, "abc\5", 4) == 0);
    EXPECT(vmsplice(ends[1], &bad, 1, 0) == -1 && errno == EFAULT);
    EXPECT(vmsplice(ends[1], (struct iovec *)8, 1, 0) == -1 && errno == EFAULT);
    EXPECT(vmsplice(-1, &part, 1, 0) == -1 && errno == EBADF);
    close(ends[0]);
    close(ends[1]);
    munmap(at, LEN);
}

/* Two connected sockets; the receiver takes no more than it has room for, so that much is still being sent. */
static int connect_both(int both[2])
{
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, little = 4 * PAGE, much = 8 * LEN;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(here);
    both[0] = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
    setsockopt(both[0], SOL_SOCKET, SO_SNDBUF, &much, sizeof(much));
    int result = bind(listener, (struct sockaddr *)&here, len) || listen(listener, 1) ||
                 getsockname(listener, (struct sockaddr *)&here, &len) ||
                 connect(both[0], (struct sockaddr *)&here, len) ||
                 setsockopt(both[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one));
    both[1] = accept(listener, NULL, NULL);
    close(listener);
    return result;
}

static ssize_t send_by(int way, int fd, char *at)
{
    struct iovec part = {at, LEN};
    struct mmsghdr messages[] = {{.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}}};
    if (way == 0)
        return send(fd, at, LEN, MSG_ZEROCOPY);
    if (way == 1)
        return sendto(fd, at, LEN, MSG_ZEROCOPY, NULL, 0);
    if (way == 2)
        return sendmsg(fd, &messages[0].msg_hdr, MSG_ZEROCOPY);
    return sendmmsg(fd, messages, 1, MSG_ZEROCOPY) == 1 ? (ssize_t)messages[0].msg_len : -1;
}

static void what_is_being_sent_stays(void)
{
    for (int way = 0; way < 8; way++) {
        int both[2];
        char got[LEN], *at = map();
        if (connect_both(both) != 0) {
            behaviour_shows_nothing = "no zero-copy sends here";
            return;
        }
        EXPECT(send_by(way / 2, both[0], at) == LEN);
        ways[way % 2](at);
        EXPECT(recv(both[1], got, LEN, MSG_WAITALL) == LEN && are_fives(got, LEN));
        struct pollfd told = {both[0], 0, 0}; /* on the error queue: the pages are the program's again */
        EXPECT(poll(&told, 1, 10000) == 1 && told.revents & POLLERR);
        close(both[0]);
        close(both[1]);
        munmap(at, LEN);
    }
}

/* Given while nothing of it is registered, looked up afterwards: the IOVA leads to the page until that is purged. */
static void what_a_pipe_holds_stays_when_it_is_looked_up_later(void)
{
    for (int i = 0; i < 2; i++) {
        int ends[2];
        char got[PAGE], *at = mmap(NULL, LEN, RW, ANONYMOUS, -1, 0);
        struct iovec part = {at, PAGE};
        memset(at, 5, LEN);
        EXPECT(mapped_hole(at, LEN));
        EXPECT(pipe(ends) == 0 && vmsplice(ends[1], &part, 1, 0) == PAGE);
        EXPECT(anydma_iova(at) != ANYDMA_BAD_IOVA && anydma_iova(at + PAGE) != ANYDMA_BAD_IOVA);
        if (i == 0)
            EXPECT(madvise(at, LEN, MADV_DONTNEED) == 0);
        else
            EXPECT(mmap(at, LEN, RW, ANONYMOUS | MAP_FIXED, -1, 0) == at);
        EXPECT(*at == 0 && at[LEN - 1] == 0);
        EXPECT(read(ends[0], got, sizeof(got)) == PAGE && are_fives(got, PAGE));
        EXPECT(anydma_iova(at) == ANYDMA_BAD_IOVA ? errno == ESTALE : !mapped_hole(at, PAGE));
        close(ends[0]);
        close(ends[1]);
        munmap(at, LEN);
    }
}

static void lazily(void)
{
    int status = -1;
    setenv("ANYDMA_MODE", "lazy", 1);
    pid_t child = fork();
    if (!child) {
        dup2(2, 1);
        execl("/proc/self/exe", "routes_references", "later", (char *)NULL);
        _exit(127);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) { /* lazily */
        behaviour("what_a_pipe_holds_stays_when_it_is_looked_up_later",
                  what_a_pipe_holds_stays_when_it_is_looked_up_later);
        return behaviours_failed != 0;
    }
    shim_must_be_there();
    behaviour("what_a_pipe_holds_stays", what_a_pipe_holds_stays);
    behaviour("a_pipe_is_read_and_refuses_as_ever", a_pipe_is_read_and_refuses_as_ever);
    behaviour("what_is_being_sent_stays", what_is_being_sent_stays);
    behaviour("and_so_it_is_where_memory_is_registered_when_it_is_looked_up", lazily);
    return behaviours_end();
}
