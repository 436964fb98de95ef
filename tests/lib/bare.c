/* SPDX-License-Identifier: MIT */
#include "tests/lib/bare.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_ROOM 4096

#define require(condition) require_line(condition, #condition, __LINE__)

static void require_line(bool condition, const char *text, int line)
{
    if (condition)
        return;
    fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, line, text, strerror(errno));
    _exit(1);
}

void bare_connect(struct bare *bare, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 10};
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);

    memset(bare, 0, sizeof(*bare));
    bare->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(bare->fd >= 0 && decoder_init(&bare->decoder) == 0);
    require(connect(bare->fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    require(setsockopt(bare->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
}

static void close_descriptors(struct bare *bare)
{
    while (bare->fd_count > 0)
        close(bare->fds[--bare->fd_count]);
}

void bare_close(struct bare *bare)
{
    close(bare->fd);
    close_descriptors(bare);
    decoder_deinit(&bare->decoder);
}

/* ---- Requests -------------------------------------------------------------------------------- */

size_t bare_encode(struct bare *bare, enum method method, const void *request, uint8_t *data,
                   size_t room)
{
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    require(envelope_encode_request(&buffer, ++bare->msgid, method, request) == 0);
    require(buffer.size <= room);
    memcpy(data, buffer.data, buffer.size);
    size_t size = buffer.size;
    msgpack_sbuffer_destroy(&buffer);
    return size;
}

void bare_write(struct bare *bare, const uint8_t *data, size_t size)
{
    require(send(bare->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
}

void bare_send(struct bare *bare, enum method method, const void *request)
{
    uint8_t data[REQUEST_ROOM];
    bare_write(bare, data, bare_encode(bare, method, request, data, sizeof(data)));
}

/* ---- Replies --------------------------------------------------------------------------------- */

static ssize_t receive(struct bare *bare, bool wait)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(bare->fds))];
    } control;
    struct iovec bytes = {bare->data + bare->size, sizeof(bare->data) - bare->size};
    struct msghdr message = {
        .msg_iov = &bytes,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t size = recvmsg(bare->fd, &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    struct cmsghdr *header = size > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_type == SCM_RIGHTS) {
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        require(count <= sizeof(bare->fds) / sizeof(int));
        close_descriptors(bare);
        memcpy(bare->fds, CMSG_DATA(header), count * sizeof(int));
        bare->fd_count = (unsigned)count;
    }
    return size;
}

bool bare_next(struct bare *bare, bool wait, struct envelope *envelope)
{
    enum scan_result result;
    struct error error;

    bare->size -= bare->taken;
    memmove(bare->data, bare->data + bare->taken, bare->size);
    bare->taken = 0;
    scan_init(&bare->scan);
    while ((result = scan_continue(&bare->scan, bare->data, bare->size)) == SCAN_MORE) {
        ssize_t size = receive(bare, wait);
        if (size <= 0)
            return false;
        bare->size += (size_t)size;
    }
    require(result == SCAN_DONE);
    bare->taken = bare->scan.position;
    require(envelope_decode(&bare->decoder, bare->data, bare->taken, envelope, &error));
    require(envelope->kind == ENVELOPE_RESPONSE);
    return true;
}

/* One reply at a time: no more than one request is ever unanswered when a reply is waited for. */
void bare_receive(struct bare *bare, enum method method, void *reply)
{
    struct envelope envelope;
    struct error error;

    require(bare_next(bare, true, &envelope) && bare->taken == bare->size);
    require(envelope.msgid == bare->msgid && envelope.error->type == MSGPACK_OBJECT_NIL);
    require(message_decode(method_table[method].reply, envelope.result, false, reply, &error));
}

void bare_call(struct bare *bare, enum method method, const void *request, void *reply)
{
    bare_send(bare, method, request);
    bare_receive(bare, method, reply);
}

/* ---- The usual beginnings -------------------------------------------------------------------- */

void bare_hello(struct bare *bare, bool witness)
{
    struct hello_request request = {.version = PROTOCOL_VERSION, .name = "bare"};
    struct hello_reply reply;
    request.witness = witness;
    bare_call(bare, METHOD_HELLO, &request, &reply);
    require(reply.descriptors == witness && bare->fd_count == witness);
    bare->session = reply.session;
}

void bare_open(struct bare *bare, const char *pool, bool map)
{
    struct pool_open_request request = {.write = true, .map = map};
    struct pool_open_reply reply;
    strncpy(request.name, pool, sizeof(request.name) - 1);
    bare_call(bare, METHOD_POOL_OPEN, &request, &reply);
    bare->pool = reply.pool;
}

struct allocate_request bare_allocation(struct bare *bare, uint32_t count, int64_t timeout)
{
    return (struct allocate_request){
        .pool = bare->pool, .request = ++bare->request, .count = count, .timeout = timeout};
}

void bare_allocate(struct bare *bare, uint32_t count)
{
    struct allocate_request request = bare_allocation(bare, count, 0);
    struct allocate_reply reply;
    bare_call(bare, METHOD_ALLOCATE, &request, &reply);
    require(reply.handles.size == (size_t)count * 16);
}
