/* SPDX-License-Identifier: MIT */
#include "client/inbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int inbox_init(struct inbox *inbox)
{
    *inbox = (struct inbox){.data = malloc(SCAN_MESSAGE_MAX)};
    scan_init(&inbox->scan);
    if (!inbox->data || decoder_init(&inbox->decoder) < 0) {
        free(inbox->data);
        return -ENOMEM;
    }
    return 0;
}

void inbox_deinit(struct inbox *inbox)
{
    descriptors_close(&inbox->descriptors);
    decoder_deinit(&inbox->decoder);
    free(inbox->data);
}

void inbox_reset(struct inbox *inbox)
{
    descriptors_close(&inbox->descriptors);
    scan_init(&inbox->scan);
    inbox->begin = inbox->end = 0;
}

/* Moves what is left of a message to the front: room for the whole of it. */
static void make_room(struct inbox *inbox)
{
    size_t waiting = inbox->end - inbox->begin;
    if (inbox->begin > 0 && waiting > 0)
        memmove(inbox->data, inbox->data + inbox->begin, waiting);
    inbox->begin = 0;
    inbox->end = waiting;
}

ssize_t inbox_receive(struct inbox *inbox, int fd, int flags)
{
    make_room(inbox);
    union {
        struct cmsghdr alignment;
        char space[DESCRIPTORS_SPACE];
    } control;
    struct iovec bytes = {inbox->data + inbox->end, SCAN_MESSAGE_MAX - inbox->end};
    struct msghdr message = {
        .msg_iov = &bytes,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control.space),
    };
    ssize_t size = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    if (size < 0)
        return -errno;
    descriptors_collect(&inbox->descriptors, &message);
    inbox->end += (size_t)size;
    return size;
}

enum scan_result inbox_next(struct inbox *inbox, struct bytes *message)
{
    uint8_t *start = inbox->data + inbox->begin;
    size_t size = inbox->end - inbox->begin;
    if (size == 0)
        return SCAN_MORE;

    enum scan_result result = scan_continue(&inbox->scan, start, size);
    if (result != SCAN_DONE)
        return result == SCAN_MORE && size == SCAN_MESSAGE_MAX ? SCAN_TOO_LARGE : result;
    *message = (struct bytes){start, inbox->scan.position};
    inbox->begin += inbox->scan.position;
    scan_init(&inbox->scan);
    return SCAN_DONE;
}

bool inbox_has_surplus(const struct inbox *inbox)
{
    const struct descriptors *descriptors = &inbox->descriptors;
    bool any = descriptors->count > 0 || descriptors->lost;
    return descriptors->too_many || (any && inbox->begin == inbox->end);
}
