/* SPDX-License-Identifier: MIT */
#include "daemon/inbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void inbox_init(struct inbox *inbox)
{
    *inbox = (struct inbox){.data = NULL};
    scan_init(&inbox->scan);
}

void inbox_deinit(struct inbox *inbox)
{
    free(inbox->data);
    inbox_init(inbox);
}

/*
 * What is left of a message goes to the front; beyond the smallest size there is room for it alone.
 */
static int make_room(struct inbox *inbox)
{
    size_t left = inbox->end - inbox->begin;
    if (left > 0 && inbox->begin > 0)
        memmove(inbox->data, inbox->data + inbox->begin, left);
    inbox->begin = 0;
    inbox->end = left;

    size_t room = INBOX_MIN;
    while (room <= left)
        room *= 2;
    if (room == inbox->room)
        return 0;
    uint8_t *data = realloc(inbox->data, room);
    if (!data)
        return -ENOMEM;
    inbox->data = data;
    inbox->room = room;
    return 0;
}

ssize_t inbox_receive(struct inbox *inbox, int fd)
{
    int status = make_room(inbox);
    if (status < 0)
        return status;
    ssize_t size = recv(fd, inbox->data + inbox->end, inbox->room - inbox->end, MSG_DONTWAIT);
    if (size < 0)
        return -errno;
    inbox->end += (size_t)size;
    return size;
}

enum scan_result inbox_next(struct inbox *inbox, struct bytes *message)
{
    if (inbox->begin == inbox->end)
        return SCAN_MORE;
    /* A message that was found before, and not taken, is found again without a second look. */
    enum scan_result result = SCAN_DONE;
    if (!inbox->found)
        result = scan_continue(&inbox->scan, inbox->data + inbox->begin, inbox->end - inbox->begin);
    inbox->found = result == SCAN_DONE;
    *message = (struct bytes){inbox->data + inbox->begin, inbox->scan.position};
    return result;
}

void inbox_take(struct inbox *inbox)
{
    inbox->begin += inbox->scan.position;
    inbox->found = false;
    scan_init(&inbox->scan);
}
