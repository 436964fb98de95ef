/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/instance.h"

#include "daemon/log.h"

struct broker broker;
struct answer answer;
int64_t moment;

static struct dispatch served = {.broker = &broker, .instance = "fuzz"};
static struct decoder decoder;

int instance_begin(const struct broker_rim *rim)
{
    if (!decoder.zone.chunk_size)
        FUZZ_REQUIRE(decoder_init(&decoder) == 0);
    log_set_level(LOG_LEVEL_ERROR);
    int status = broker_init(&broker, REGISTRY, rim, moment);
    if (status == 0)
        broker.uid = DAEMON_UID; /* not root, which some clients may be */
    return status;
}

/* The witness of a hello is kept. */
static void close_descriptors(struct client *client)
{
    while (answer.descriptor_count > 0) {
        int fd = answer.descriptors[--answer.descriptor_count];
        if (answer.method == METHOD_HELLO)
            client->witness = fd;
        else
            close(fd);
    }
}

enum answer_kind instance_call(struct client *client, enum method method, const void *request)
{
    static struct scan scan;
    struct envelope envelope;
    struct error error;
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    FUZZ_REQUIRE(envelope_encode_request(&buffer, 42, method, request) == 0);
    const uint8_t *bytes = (const uint8_t *)buffer.data;
    scan_init(&scan);
    FUZZ_REQUIRE(scan_continue(&scan, bytes, buffer.size) == SCAN_DONE);
    FUZZ_REQUIRE(envelope_decode(&decoder, bytes, buffer.size, &envelope, &error));
    dispatch(&served, &client->caller, &envelope, moment, &answer);
    FUZZ_REQUIRE(answer.kind != ANSWER_ERROR || answer.error.message[0] != '\0');
    FUZZ_REQUIRE(answer.kind == ANSWER_REPLY || answer.descriptor_count == 0);
    close_descriptors(client);
    msgpack_sbuffer_destroy(&buffer);
    return answer.kind;
}

bool instance_greet(struct client *client, bool witness)
{
    if (!client->caller.connection)
        client->caller.connection = client;
    if (CALL(client, HELLO, hello, .version = PROTOCOL_VERSION, .name = "fuzz",
             .witness = witness) != ANSWER_REPLY)
        return false;
    client->session = answer.reply.hello.session;
    memcpy(client->token, answer.reply.hello.token.data, sizeof(client->token));
    client->change = 0;
    client->request = 0;
    return true;
}

void instance_hang_up(struct client *client)
{
    if (client->caller.session)
        broker_disconnect(&broker, client->caller.session);
    client->caller.session = NULL;
    if (client->caller.bell >= 0)
        close(client->caller.bell);
    client->caller.bell = -1;
}

void instance_let_die(struct client *client)
{
    if (client->witness >= 0)
        close(client->witness);
    client->witness = -1;
}
