/* SPDX-License-Identifier: MIT */
/* What came to the pools later: growing, trimming, priorities, handing on, statistics, events. */
#include "shm/order.h"
#include "tests/unit/dispatch_case.h"

#define MIB (UINT64_C(1) << 20)
#define FOREVER INT64_C(-1)

static struct pool *frames(void)
{
    return broker_find_pool(&broker, "frames");
}

static const struct pool_info *info_of(const char *name)
{
    struct pool_list_request request = {0};
    name_copy(request.name, name);
    check_reply(call(&alice, METHOD_POOL_LIST, &request));
    return answer.reply.pool_list.pools.items;
}

static uint8_t wire[PROTOCOL_HANDLES_MAX];

/* The handles of the last allocate, where the next reply doesn't overwrite them. */
static struct bytes keep(void)
{
    struct bytes handles = answer.reply.allocate.handles;
    memcpy(wire, handles.data, handles.size);
    return (struct bytes){wire, handles.size};
}

/* ---- What a pool is made of ------------------------------------------------------------------ */

START_TEST(test_pool_create_takes_all_of_the_configuration)
{
    const struct pool_create_request request = {
        .name = "whole",
        .object_size = 100,
        .capacity = 8,
        .capacity_max = 20,
        .growth = "linear:4",
        .grow_ahead = 1,
        .type = "t",
        .mode = 0644,
        .owner_frees = true,
        .reserve_critical = 2,
        .reserve_normal = 3,
        .session_slots = 6,
        .user_slots = 7,
        .zero = 1,
        .template = {(const uint8_t *)"abc", 3},
        .watermark = "75%",
        .hold_limit = 1000,
        .trim_after = 2000,
        .prefault = true,
        .lock = true,
        .huge = true,
    };
    check_reply(call(&alice, METHOD_POOL_CREATE, &request));
    const struct pool_info *info = info_of("whole");
    ck_assert_uint_eq(info->capacity, 8);
    ck_assert_uint_eq(info->capacity_max, 20);
    ck_assert_uint_ge(info->reserve, 20);
    ck_assert_str_eq(info->growth, "linear:4");
    ck_assert_uint_eq(info->grow_ahead, 1);
    ck_assert(info->owner_frees && info->prefault && info->lock && info->huge);
    ck_assert_uint_eq(info->reserve_critical, 2);
    ck_assert_uint_eq(info->reserve_normal, 3);
    ck_assert_uint_eq(info->session_slots, 6);
    ck_assert_uint_eq(info->user_slots, 7);
    ck_assert_uint_eq(info->zero, 1);
    ck_assert_uint_eq(info->template_size, 3);
    ck_assert_str_eq(info->watermark, "75%");
    ck_assert_uint_eq(info->hold_limit, 1000);
    ck_assert_uint_eq(info->trim_after, 2000);
    ck_assert_uint_eq(info->mode, 0644);
    check_reply(CALL(&alice, POOL_OPEN, pool_open, .name = "whole", .growth = "linear:4",
                     .watermark = "75%", .reserve_critical = 2, .owner_frees = true));
    check_error(CALL(&alice, POOL_OPEN, pool_open, .name = "whole", .growth = "linear:5"),
                ERROR_CONFIG_MISMATCH);
    ck_assert_str_eq(error->field, "growth");
}
END_TEST

START_TEST(test_pool_create_gives_pools_to_the_callers_own_groups_alone)
{
    gid_t group = 5000;
    check_error(CALL(&stranger, POOL_CREATE, pool_create, .name = "g", .object_size = 1,
                     .capacity = 1, .gid = group),
                ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "gid");
    ck_assert_ptr_null(broker_find_pool(&broker, "g"));
    check_error(CALL(&stranger, POOL_OPEN, pool_open, .name = "g", .create = true, .object_size = 1,
                     .capacity = 1, .gid = group),
                ERROR_INVALID_ARGUMENT);

    stranger.who.groups = &group;
    stranger.who.group_count = 1;
    check_reply(CALL(&stranger, POOL_CREATE, pool_create, .name = "g", .object_size = 1,
                     .capacity = 1, .gid = group));
    ck_assert_uint_eq(broker_find_pool(&broker, "g")->ctl->gid, group);
    check_reply(CALL(&stranger, POOL_CREATE, pool_create, .name = "own", .object_size = 1,
                     .capacity = 1, .gid = STRANGER));
    check_error(CALL(&stranger, POOL_CREATE, pool_create, .name = "h", .object_size = 1,
                     .capacity = 1, .gid = group + 1),
                ERROR_INVALID_ARGUMENT);
    stranger.who.peer.uid = 0;
    check_reply(CALL(&stranger, POOL_CREATE, pool_create, .name = "h", .object_size = 1,
                     .capacity = 1, .gid = group + 1));
}
END_TEST

/* ---- The x bit ------------------------------------------------------------------------------- */

static enum answer_kind administer(struct caller *caller, enum method method)
{
    union {
        struct pool_grow_request grow;
        struct pool_trim_request trim;
        struct stats_reset_request reset;
        struct pool_destroy_request destroy;
    } request = {0};
    switch (method) {
    case METHOD_POOL_GROW:
        request.grow = (struct pool_grow_request){.name = "frames"};
        break;
    case METHOD_POOL_TRIM:
        request.trim = (struct pool_trim_request){.name = "frames"};
        break;
    case METHOD_STATS_RESET:
        request.reset = (struct stats_reset_request){.name = "frames"};
        break;
    default:
        request.destroy = (struct pool_destroy_request){.name = "frames", .force = true};
        break;
    }
    return call(caller, method, &request);
}

START_TEST(test_administration_is_for_whom_the_x_bit_lets)
{
    static const enum method methods[] = {METHOD_POOL_GROW, METHOD_POOL_TRIM, METHOD_STATS_RESET,
                                          METHOD_POOL_DESTROY};
    gid_t group = OWNER;
    for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        struct layout_ctl *ctl = frames()->ctl;
        ctl->mode = 0776; /* others may read and write, no more */
        check_error(administer(&stranger, methods[i]), ERROR_NOT_PERMITTED);
        ck_assert_str_eq(error->pool, "frames");
        ck_assert_ptr_nonnull(strstr(error->message, "x bit"));
        ctl->mode = 0010;
        check_error(administer(&stranger, methods[i]), ERROR_NOT_PERMITTED);
        stranger.who.groups = &group;
        stranger.who.group_count = 1;
        if (methods[i] != METHOD_POOL_DESTROY)
            check_reply(administer(&stranger, methods[i]));
        ctl->mode = 0001; /* the group's bits are looked at, not the others' */
        check_error(administer(&stranger, methods[i]), ERROR_NOT_PERMITTED);
        stranger.who.group_count = 0;
        if (methods[i] != METHOD_POOL_DESTROY)
            check_reply(administer(&stranger, methods[i]));
        ctl->mode = 0000;
        check_reply(administer(&bob, methods[i])); /* the owner always may */
    }
    check_error(administer(&alice, METHOD_POOL_GROW), ERROR_NO_SUCH_POOL);
    check_error(administer(&alice, METHOD_POOL_TRIM), ERROR_NO_SUCH_POOL);
    check_error(administer(&alice, METHOD_STATS_RESET), ERROR_NO_SUCH_POOL);
    check_error(administer(&alice, METHOD_POOL_DESTROY), ERROR_NO_SUCH_POOL);
}
END_TEST

/* ---- Growing and trimming -------------------------------------------------------------------- */

START_TEST(test_pool_grow_raises_the_maximum_and_the_capacity)
{
    uint64_t reserve = info_of("frames")->reserve;
    check_reply(
        CALL(&alice, POOL_GROW, pool_grow, .name = "frames", .capacity = 9, .capacity_max = 10));
    ck_assert_uint_eq(answer.reply.pool_grow.capacity, 9);
    ck_assert_uint_eq(answer.reply.pool_grow.capacity_max, 10);
    check_error(CALL(&alice, POOL_GROW, pool_grow, .name = "frames", .capacity = 11),
                ERROR_MAX_CAPACITY_EXCEEDED);
    ck_assert_uint_eq(error->current, 9);
    ck_assert_uint_eq(error->requested, 11);
    ck_assert_uint_eq(error->max, 10);
    check_error(CALL(&alice, POOL_GROW, pool_grow, .name = "frames", .capacity_max = reserve + 1),
                ERROR_MAX_CAPACITY_EXCEEDED);
    check_error(CALL(&alice, POOL_GROW, pool_grow, .name = "frames", .capacity_max = 9),
                ERROR_INVALID_CAPACITY);
    check_reply(CALL(&alice, POOL_GROW, pool_grow, .name = "frames", .capacity_max = reserve));
    ck_assert_uint_eq(info_of("frames")->capacity_max, reserve);
}
END_TEST

START_TEST(test_pool_grow_is_answered_later_when_it_takes_long)
{
    check_reply(CALL(&alice, POOL_CREATE, pool_create, .name = "big", .object_size = MIB,
                     .capacity = 1, .capacity_max = 10));
    ck_assert_int_eq(CALL(&bob, POOL_GROW, pool_grow, .name = "big", .capacity = 8), ANSWER_LATER);
    check_reply(CALL(&alice, PING, ping, .none = {})); /* meanwhile */
    ck_assert_uint_eq(later.count, 0);
    do_job();
    ck_assert_uint_eq(later.count, 1);
    ck_assert_ptr_eq(later.connection, &bob);
    ck_assert_uint_eq(later.msgid, MSGID);
    ck_assert_int_eq(later.method, METHOD_POOL_GROW);
    ck_assert_uint_eq(later.capacity, 8);
    ck_assert_uint_eq(info_of("big")->capacity, 8);
}
END_TEST

START_TEST(test_pool_trim_says_how_much_it_gave_back)
{
    check_reply(
        CALL(&alice, POOL_CREATE, pool_create, .name = "big", .object_size = MIB, .capacity = 4));
    uint64_t before = info_of("big")->memory;
    check_reply(CALL(&bob, POOL_TRIM, pool_trim, .name = "big"));
    ck_assert_uint_eq(answer.reply.pool_trim.bytes, 4 * MIB);
    ck_assert_uint_eq(info_of("big")->memory, before - 4 * MIB);
    check_reply(CALL(&bob, POOL_TRIM, pool_trim, .name = "big"));
    ck_assert_uint_eq(answer.reply.pool_trim.bytes, 0);
}
END_TEST

/* ---- Requests -------------------------------------------------------------------------------- */

START_TEST(test_allocate_limits_the_priority)
{
    open_to_write(&bob);
    for (uint32_t priority = 0; priority <= 2; priority++)
        check_reply(
            CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .priority = priority));
    check_error(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .priority = 3),
                ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(error->field, "priority");
}
END_TEST

START_TEST(test_allocate_evicts_for_what_is_critical)
{
    if (test_is_leased()) /* where nothing is evictable */
        return;
    open_to_write(&bob);
    open_to_write(&alice);
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .count = CAPACITY,
                     .evictable = true));
    check_error(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1), ERROR_POOL_EXHAUSTED);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 2, .priority = 1));
    check_reply(CALL(&alice, STATS, stats, .name = "frames"));
    ck_assert_uint_eq(answer.reply.stats.evictions, 1);
}
END_TEST

START_TEST(test_cancel_ends_what_waits)
{
    open_to_write(&bob);
    check_error(CALL(&alice, CANCEL, cancel, .pool = pool), ERROR_NOT_A_MEMBER);
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .count = CAPACITY));
    for (uint64_t i = 2; i < 5; i++)
        ck_assert_int_eq(
            CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = i, .timeout = FOREVER),
            ANSWER_LATER);
    check_reply(CALL(&bob, CANCEL, cancel, .pool = pool, .request = 1)); /* done already */
    ck_assert_uint_eq(answer.reply.cancel.cancelled, 0);
    check_reply(CALL(&bob, CANCEL, cancel, .pool = pool, .request = 3));
    ck_assert_uint_eq(answer.reply.cancel.cancelled, 1);
    ck_assert_uint_eq(later.count, 1);
    ck_assert_int_eq(later.code, ERROR_CANCELLED);
    check_reply(CALL(&bob, CANCEL, cancel, .pool = pool));
    ck_assert_uint_eq(answer.reply.cancel.cancelled, 2);
    ck_assert_uint_eq(later.count, 3);
}
END_TEST

START_TEST(test_cancel_of_the_first_lets_the_next_through)
{
    open_to_write(&alice);
    open_to_write(&bob);
    check_reply(
        CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1, .count = CAPACITY - 1));
    ck_assert_int_eq(
        CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 7, .count = 2, .timeout = FOREVER),
        ANSWER_LATER);
    ck_assert_int_eq(
        CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 2, .timeout = FOREVER),
        ANSWER_LATER);
    check_reply(CALL(&alice, CANCEL, cancel, .pool = pool, .request = 7)); /* not hers */
    ck_assert_uint_eq(answer.reply.cancel.cancelled, 0);
    check_reply(CALL(&bob, CANCEL, cancel, .pool = pool, .request = 7));
    ck_assert_uint_eq(later.count, 2);
    ck_assert_ptr_eq(later.connection, &alice);
    ck_assert_int_eq(later.code, ERROR_NONE);
}
END_TEST

/* ---- Handing on ------------------------------------------------------------------------------ */

START_TEST(test_objects_are_handed_on)
{
    open_to_write(&alice);
    open_to_write(&bob);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1, .count = 2));
    struct bytes handles = keep();
    check_reply(CALL(&bob, RETAIN, retain, .pool = pool, .handles = handles));
    ck_assert_uint_eq(answer.reply.retain.retained, 2);
    check_error(CALL(&alice, FREE, free, .pool = pool, .handles = handles), ERROR_OBJECT_SHARED);
    ck_assert_uint_eq(error->position, 0);
    check_reply(CALL(&alice, RELEASE, release, .pool = pool, .handles = handles));
    ck_assert_uint_eq(answer.reply.release.released, 2);
    check_error(CALL(&alice, RELEASE, release, .pool = pool, .handles = handles), ERROR_NOT_HOLDER);
    check_reply(CALL(&bob, DETACH, detach, .pool = pool, .handles = handles));
    ck_assert_uint_eq(answer.reply.detach.detached, 2);
    check_reply(CALL(&alice, ADOPT, adopt, .pool = pool, .handles = handles));
    ck_assert_uint_eq(answer.reply.adopt.adopted, 2);
    ck_assert_uint_eq(session_usage(alice.session), 2);
    check_reply(CALL(&alice, FREE, free, .pool = pool, .handles = handles));
    check_error(CALL(&alice, ADOPT, adopt, .pool = pool, .handles = handles), ERROR_STALE_HANDLE);
}
END_TEST

START_TEST(test_handing_on_wants_whole_handles_and_a_writer)
{
    static const enum method methods[] = {METHOD_FREE, METHOD_RELEASE, METHOD_RETAIN, METHOD_ADOPT,
                                          METHOD_DETACH};
    static const size_t sizes[] = {0, 1, HANDLE_WIRE_SIZE - 1, HANDLE_WIRE_SIZE + 1};
    static const uint8_t bytes[2 * HANDLE_WIRE_SIZE];
    check_reply(CALL(&bob, POOL_OPEN, pool_open, .name = "frames"));
    open_to_write(&alice);
    for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        struct free_request request = {.pool = pool, .handles = {bytes, HANDLE_WIRE_SIZE}};
        check_error(call(&stranger, methods[i], &request), ERROR_NOT_A_MEMBER);
        check_error(call(&bob, methods[i], &request), ERROR_NOT_A_MEMBER);
        ck_assert_str_eq(error->pool, "frames");
        check_error(call(&alice, methods[i], &request), ERROR_WRONG_POOL);
        for (unsigned j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            request.handles.size = sizes[j];
            check_error(call(&alice, methods[i], &request), ERROR_INVALID_ARGUMENT);
            ck_assert_str_eq(error->field, "handles");
        }
    }
}
END_TEST

START_TEST(test_release_of_the_last_hold_serves_who_waits)
{
    open_to_write(&alice);
    open_to_write(&bob);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1, .count = CAPACITY));
    struct bytes handles = keep();
    ck_assert_int_eq(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .timeout = FOREVER),
                     ANSWER_LATER);
    check_reply(
        CALL(&alice, RELEASE, release, .pool = pool, .handles = {handles.data, HANDLE_WIRE_SIZE}));
    ck_assert_uint_eq(later.count, 1);
    ck_assert_int_eq(later.code, ERROR_NONE);
}
END_TEST

/* Who adopts holds anew: the deadline begins again, though nothing is allocated. */
START_TEST(test_an_object_that_was_adopted_can_be_held_for_too_long_again)
{
    check_reply(CALL(&alice, POOL_OPEN, pool_open, .name = "held", .create = true, .write = true,
                     .object_size = 1, .capacity = 1, .hold_limit = 100, .mode = 0666));
    uint32_t other = answer.reply.pool_open.pool;
    check_reply(CALL(&bob, POOL_OPEN, pool_open, .name = "held", .write = true));
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = other, .request = 1));
    struct bytes handles = keep();
    broker_set_time(&broker, now = 1100);
    broker_pass_time(&broker);
    ck_assert_int_eq(broker_next_deadline(&broker), DEADLINE_NEVER);
    now = 1150;
    check_reply(CALL(&bob, ADOPT, adopt, .pool = other, .handles = handles));
    ck_assert_int_eq(broker_next_deadline(&broker), 1250);
    check_reply(CALL(&bob, STATS, stats, .name = "held"));
    ck_assert_uint_eq(answer.reply.stats.held_long, 0);
    broker_set_time(&broker, now = 1250);
    broker_pass_time(&broker);
    check_reply(CALL(&bob, STATS, stats, .name = "held"));
    ck_assert_uint_eq(answer.reply.stats.held_long, 1);
    ck_assert_uint_eq(answer.reply.stats.total_held_long, 2);
}
END_TEST

/* ---- Statistics ------------------------------------------------------------------------------ */

START_TEST(test_stats_tell_waits_holds_and_the_average)
{
    open_to_write(&alice);
    open_to_write(&bob);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1, .count = CAPACITY));
    struct bytes handles = keep();
    ck_assert_int_eq(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .timeout = FOREVER),
                     ANSWER_LATER);
    now = 1500;
    check_reply(CALL(&alice, FREE, free, .pool = pool, .handles = handles));
    now = 2000;
    check_reply(CALL(&bob, STATS, stats, .name = "frames"));
    const struct stats_reply *stats = &answer.reply.stats;
    ck_assert_uint_eq(stats->age, 1000);
    ck_assert_uint_eq(stats->average_usage, 2500); /* half the time 4, half the time 1 */
    ck_assert_uint_eq(stats->total_waits, 1);
    ck_assert_uint_eq(stats->wait_max, 500);
    ck_assert_uint_eq(stats->hold_max, 500);
    ck_assert_uint_ge(stats->wait_p99, stats->wait_p50);
    ck_assert_uint_eq(stats->waiters, 0);
}
END_TEST

START_TEST(test_stats_reset_begins_anew)
{
    open_to_write(&alice);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1, .count = 3));
    struct bytes handles = keep();
    check_reply(CALL(&alice, FREE, free, .pool = pool, .handles = {handles.data, 16}));
    now = 5000;
    check_reply(CALL(&bob, STATS_RESET, stats_reset, .name = "frames"));
    now = 5001;
    check_reply(CALL(&bob, STATS, stats, .name = "frames"));
    const struct stats_reply *stats = &answer.reply.stats;
    ck_assert_uint_eq(stats->age, 1);
    ck_assert_uint_eq(stats->current_usage, 2);
    ck_assert_uint_eq(stats->peak_usage, 2);
    ck_assert_uint_eq(stats->total_allocations + stats->total_deallocations, 0);
    ck_assert_uint_eq(stats->hold_max, 0);
}
END_TEST

START_TEST(test_holders_are_listed)
{
    open_to_write(&alice);
    open_to_write(&bob);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1));
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .count = 2));
    now = 1700;
    check_reply(CALL(&stranger, HOLDERS, holders, .name = "frames"));
    const struct holder_info *infos = answer.reply.holders.holders.items;
    ck_assert_uint_eq(answer.reply.holders.holders.count, 2);
    ck_assert_uint_eq(infos[0].session, bob.session->id);
    ck_assert_uint_eq(infos[0].slots, 2);
    ck_assert_uint_eq(infos[0].oldest, 700);
    ck_assert_uint_eq(infos[0].pid, 12);
    ck_assert(infos[0].connected);
    ck_assert_uint_eq(infos[1].session, alice.session->id);
    check_error(CALL(&stranger, HOLDERS, holders, .name = "nothing"), ERROR_NO_SUCH_POOL);
}
END_TEST

/* Anybody may ask, as often as he likes. */
START_TEST(test_holders_of_a_leased_pool_keep_what_they_have_cached)
{
    check_reply(CALL(&alice, POOL_OPEN, pool_open, .name = "leased", .create = true, .write = true,
                     .kind = LAYOUT_LEASED, .object_size = 8, .capacity = 8));
    uint32_t leased = answer.reply.pool_open.pool;
    check_reply(CALL(&alice, LEASE, lease, .pool = leased, .count = 2));
    for (int i = 0; i < 2; i++) {
        check_reply(CALL(&stranger, HOLDERS, holders, .name = "leased"));
        ck_assert_uint_eq(answer.reply.holders.holders.count, 0);
        check_reply(CALL(&stranger, STATS, stats, .name = "leased"));
        ck_assert_uint_eq(answer.reply.stats.cached, 2);
        ck_assert_uint_eq(answer.reply.stats.current_usage, 0);
    }
}
END_TEST

START_TEST(test_a_refusal_names_the_holders)
{
    open_to_write(&bob);
    check_reply(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 1, .count = CAPACITY));
    check_error(CALL(&bob, ALLOCATE, allocate, .pool = pool, .request = 2), ERROR_POOL_EXHAUSTED);
    ck_assert_ptr_nonnull(strstr(error->holders, "'x' (pid 12, uid 1000): 4 slots"));
    ck_assert_uint_eq(error->reserved, 0);
}
END_TEST

/* ---- Checks ---------------------------------------------------------------------------------- */

START_TEST(test_check_is_for_root_and_the_daemons_user)
{
    open_to_write(&alice);
    check_reply(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1));
    check_error(CALL(&stranger, CHECK, check), ERROR_NOT_PERMITTED);
    check_error(CALL(&alice, CHECK, check), ERROR_NOT_PERMITTED);
    alice.who.peer.uid = broker.uid;
    check_reply(CALL(&alice, CHECK, check));
    ck_assert_uint_eq(answer.reply.check.pools, 1);
    ck_assert_uint_eq(answer.reply.check.sessions, 3);
    ck_assert_uint_eq(answer.reply.check.slots, CAPACITY);
    ck_assert_uint_eq(answer.reply.check.violations + answer.reply.check.notes, 0);
    ck_assert_uint_eq(answer.reply.check.findings.count, 0);
    alice.who.peer.uid = OWNER;
}
END_TEST

/* ---- Events ---------------------------------------------------------------------------------- */

START_TEST(test_events_are_told_at_once_or_later)
{
    frames()->ctl->mode = 0640;
    check_error(CALL(&bob, EVENTS, events, .name = "nothing"), ERROR_NO_SUCH_POOL);
    check_reply(CALL(&bob, EVENTS, events, .name = "frames"));
    ck_assert_uint_eq(answer.reply.events.events.count, 0);
    ck_assert_int_eq(CALL(&bob, EVENTS, events, .name = "frames", .timeout = FOREVER),
                     ANSWER_LATER);
    ck_assert_int_eq(CALL(&stranger, EVENTS, events, .timeout = FOREVER), ANSWER_LATER);
    open_to_write(&alice);
    check_error(CALL(&alice, ALLOCATE, allocate, .pool = pool, .request = 1, .count = CAPACITY + 1),
                ERROR_POOL_EXHAUSTED);

    ck_assert_uint_eq(later.count, 1); /* the stranger may not read the pool */
    ck_assert_ptr_eq(later.connection, &bob);
    ck_assert_int_eq(later.method, METHOD_EVENTS);
    ck_assert_uint_eq(later.events, 1);
    check_reply(CALL(&bob, EVENTS, events, .after = 0));
    const struct event_info *infos = answer.reply.events.events.items;
    ck_assert_uint_eq(answer.reply.events.events.count, 1);
    ck_assert_str_eq(infos[0].kind, "exhausted");
    ck_assert_str_eq(infos[0].name, "frames");
    ck_assert_uint_eq(infos[0].count, CAPACITY + 1);
    ck_assert_uint_eq(infos[0].time, 1000);
    ck_assert_uint_eq(answer.reply.events.next, 1);
    check_reply(CALL(&bob, SESSIONS, sessions, .after = 0));
    ck_assert_uint_eq(
        ((const struct session_info *)answer.reply.sessions.sessions.items)[2].waiting, 1);
}
END_TEST

SUITE_MAIN_WITH("dispatch_methods", dispatch_set_up, dispatch_tear_down,
                test_pool_create_takes_all_of_the_configuration,
                test_pool_create_gives_pools_to_the_callers_own_groups_alone,
                test_administration_is_for_whom_the_x_bit_lets,
                test_pool_grow_raises_the_maximum_and_the_capacity,
                test_pool_grow_is_answered_later_when_it_takes_long,
                test_pool_trim_says_how_much_it_gave_back, test_allocate_limits_the_priority,
                test_allocate_evicts_for_what_is_critical, test_cancel_ends_what_waits,
                test_cancel_of_the_first_lets_the_next_through, test_objects_are_handed_on,
                test_handing_on_wants_whole_handles_and_a_writer,
                test_release_of_the_last_hold_serves_who_waits,
                test_an_object_that_was_adopted_can_be_held_for_too_long_again,
                test_stats_tell_waits_holds_and_the_average, test_stats_reset_begins_anew,
                test_holders_are_listed, test_holders_of_a_leased_pool_keep_what_they_have_cached,
                test_a_refusal_names_the_holders, test_check_is_for_root_and_the_daemons_user,
                test_events_are_told_at_once_or_later)
