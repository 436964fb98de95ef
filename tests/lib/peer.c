/* SPDX-License-Identifier: MIT */
#include "tests/lib/peer.h"

#include <check.h>
#include <endian.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 16

#define PEER_SESSION 7u
static const uint8_t peer_token[PROTOCOL_TOKEN_SIZE] = "0123456789abcde";

/* ---- In the test ----------------------------------------------------------------------------- */

void test_peer_bind(struct test_peer *test, int backlog)
{
    snprintf(test->directory, sizeof(test->directory), "/tmp/fastalloc-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(test->directory));
    snprintf(test->socket, sizeof(test->socket), "%s/socket", test->directory);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, test->socket, sizeof(test->socket));
    test->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(test->listener, 0);
    ck_assert_int_eq(bind(test->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(test->listener, backlog), 0);
}

static _Noreturn void run(int listener, peer_script_t script)
{
    static struct peer peer;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    peer.listener = listener;
    peer_accept(&peer);
    peer_require(decoder_init(&peer.decoder) == 0);
    script(&peer);
    peer_wait_for_end(&peer);
    _exit(0);
}

void test_peer_run(struct test_peer *test, peer_script_t script)
{
    test->pid = fork();
    ck_assert_int_ge(test->pid, 0);
    if (test->pid == 0)
        run(test->listener, script);
    close(test->listener);
}

void test_peer_start(struct test_peer *test, peer_script_t script)
{
    test_peer_bind(test, 4);
    test_peer_run(test, script);
}

void test_peer_join(struct test_peer *test)
{
    int status;
    ck_assert_int_eq(waitpid(test->pid, &status, 0), test->pid);
    ck_assert_msg(status == 0, "the peer ended with %#x", (unsigned)status);
    unlink(test->socket);
    rmdir(test->directory);
}

/* ---- For scripts ----------------------------------------------------------------------------- */

void peer_require_line(bool condition, const char *text, const char *file, int line)
{
    if (condition)
        return;
    fprintf(stderr, "%s:%d: peer: not so: %s\n", file, line, text);
    _exit(1);
}

static void receive_message(struct peer *peer)
{
    peer->size -= peer->taken;
    memmove(peer->data, peer->data + peer->taken, peer->size);
    peer->taken = 0;

    enum scan_result result;
    while ((result = scan_continue(&peer->scan, peer->data, peer->size)) == SCAN_MORE) {
        ssize_t size = recv(peer->fd, peer->data + peer->size, sizeof(peer->data) - peer->size, 0);
        peer_require(size > 0);
        peer->size += (size_t)size;
    }
    peer_require(result == SCAN_DONE);
    peer->taken = peer->scan.position;
    scan_init(&peer->scan);
}

static enum method receive_request(struct peer *peer)
{
    struct error error;
    receive_message(peer);
    peer_require(envelope_decode(&peer->decoder, peer->data, peer->taken, &peer->request, &error));
    peer_require(peer->request.kind == ENVELOPE_REQUEST);
    return method_find((const char *)peer->request.method.data, peer->request.method.size);
}

bool peer_is_next(struct peer *peer, enum method method)
{
    bool is_next = receive_request(peer) == method;
    peer->taken = 0;
    return is_next;
}

void peer_receive(struct peer *peer, enum method method, void *request)
{
    struct error error;
    peer_require(receive_request(peer) == method);
    peer->msgid = peer->request.msgid;
    if (request)
        peer_require(message_decode(method_table[method].request, peer->request.params, true,
                                    request, &error));
}

void peer_send_with(struct peer *peer, const void *data, size_t size, const int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    } control;
    struct iovec bytes = {.iov_len = size};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    memcpy(&bytes.iov_base, &data, sizeof(data)); /* const is all that differs */
    if (count > 0) {
        memset(&control, 0, sizeof(control));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    ssize_t sent = sendmsg(peer->fd, &message, MSG_NOSIGNAL);
    peer_require(sent == (ssize_t)size || (peer->may_lose_client && sent < 0));
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

void peer_send(struct peer *peer, const void *data, size_t size)
{
    peer_send_with(peer, data, size, NULL, 0);
}

static void send_buffer(struct peer *peer, msgpack_sbuffer *buffer, const int *fds, size_t count)
{
    peer_send_with(peer, buffer->data, buffer->size, fds, count);
    msgpack_sbuffer_destroy(buffer);
}

void peer_reply_with(struct peer *peer, enum method method, const void *reply, const int *fds,
                     size_t count)
{
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    peer_require(envelope_encode_reply(&buffer, peer->msgid, method, reply) == 0);
    send_buffer(peer, &buffer, fds, count);
}

void peer_reply(struct peer *peer, enum method method, const void *reply)
{
    peer_reply_with(peer, method, reply, NULL, 0);
}

void peer_reply_to(struct peer *peer, uint32_t msgid, enum method method, const void *reply)
{
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    peer_require(envelope_encode_reply(&buffer, msgid, method, reply) == 0);
    send_buffer(peer, &buffer, NULL, 0);
}

void peer_reply_error(struct peer *peer, const struct error *error)
{
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    peer_require(envelope_encode_error(&buffer, peer->msgid, error) == 0);
    send_buffer(peer, &buffer, NULL, 0);
}

void peer_greet(struct peer *peer)
{
    struct hello_request request;
    struct hello_reply reply = {
        .version = PROTOCOL_VERSION,
        .release = "0",
        .session = PEER_SESSION,
        .token = {peer_token, sizeof(peer_token)},
        .message_max = SCAN_MESSAGE_MAX,
        .batch_max = PROTOCOL_BATCH_MAX,
        .descriptors = 1,
    };
    int witness = peer_memory(4096);
    peer_receive(peer, METHOD_HELLO, &request);
    peer_require(request.version == PROTOCOL_VERSION && request.witness);
    peer_reply_with(peer, METHOD_HELLO, &reply, &witness, 1);
}

/* ---- Coming again ---------------------------------------------------------------------------- */

void peer_cut(struct peer *peer)
{
    shutdown(peer->fd, SHUT_RDWR);
    close(peer->fd);
}

void peer_accept(struct peer *peer)
{
    peer->fd = accept(peer->listener, NULL, NULL);
    peer_require(peer->fd >= 0);
    peer->taken = peer->size = 0;
    scan_init(&peer->scan);
}

void peer_receive_resume(struct peer *peer, struct resume_request *request)
{
    peer_cut(peer);
    peer_accept(peer);
    peer_receive(peer, METHOD_RESUME, request);
    peer_require(request->version == PROTOCOL_VERSION && request->session == PEER_SESSION);
    peer_require(request->token.size == PROTOCOL_TOKEN_SIZE);
    peer_require(memcmp(request->token.data, peer_token, PROTOCOL_TOKEN_SIZE) == 0);
}

void peer_resume(struct peer *peer)
{
    const struct resume_reply reply = {.release = "0"};
    struct resume_request request;
    peer_receive_resume(peer, &request);
    peer_reply(peer, METHOD_RESUME, &reply);
}

static bool names(const struct settle_request *request, uint64_t number)
{
    for (size_t at = 0; at < request->requests.size; at += sizeof(number)) {
        uint64_t wire;
        memcpy(&wire, request->requests.data + at, sizeof(wire));
        if (le64toh(wire) == number)
            return true;
    }
    return false;
}

void peer_settle(struct peer *peer, const uint64_t *numbers, size_t count)
{
    const struct settle_reply reply = {.freed = 0};
    struct settle_request request;
    peer_receive(peer, METHOD_SETTLE, &request);
    peer_require(request.requests.size == count * sizeof(numbers[0]));
    for (size_t i = 0; i < count; i++)
        peer_require(names(&request, numbers[i]));
    peer_reply(peer, METHOD_SETTLE, &reply);
}

int peer_memory(size_t size)
{
    int fd = memfd_create("peer", MFD_CLOEXEC);
    peer_require(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

void peer_wait_for_end(struct peer *peer)
{
    while (recv(peer->fd, peer->data, sizeof(peer->data), 0) > 0)
        continue;
}
