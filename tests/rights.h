/* SPDX-License-Identifier: MIT */
/* Descriptors that go through a socket (SCM_RIGHTS). */
#ifndef TESTS_RIGHTS_H
#define TESTS_RIGHTS_H

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

__attribute__((unused)) static bool rights_send(int by, int fd)
{
    char byte = 0, room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    *rights = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
    return sendmsg(by, &message, 0) == 1;
}

/* -1: none has come. */
__attribute__((unused)) static int rights_receive(int by)
{
    char byte, room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    int fd = -1;
    if (recvmsg(by, &message, 0) == 1 && CMSG_FIRSTHDR(&message))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
}

#endif
