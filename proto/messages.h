/* SPDX-License-Identifier: MIT */
/*
 * The protocol, as one list: every method with its number, every message with its fields, types and
 * limits, every error with its number and fields. Structs, encoder, decoder, dispatch and the
 * documentation follow from it. X-macros here and nowhere else.
 *
 * A field is F(M, kind, name, limit, presence), M being the message that it stands in:
 *   U32, U64  unsigned, at most limit         I64  signed; the limit is not used
 *   BOOL      the limit is not used           STR  plain UTF-8 (proto/text.h), at most limit bytes
 *   BIN       at most limit bytes             LIST of the messages that limit names
 * REQUIRED must be there; OPTIONAL is 0, false or empty when it isn't.
 *
 * Numbers and names of dead methods, fields and errors are never used again.
 */
#ifndef PROTO_MESSAGES_H
#define PROTO_MESSAGES_H

#include "shm/geometry.h"
#include "shm/handle.h"
#include "shm/lease.h"

#define PROTOCOL_VERSION 3u

#define PROTOCOL_NAME_MAX (LAYOUT_NAME_SIZE - 1) /* bytes of a pool's, type's or client's name */
#define PROTOCOL_TOKEN_SIZE 16
#define PROTOCOL_BATCH_MAX 2048u  /* handles in one allocate or free */
#define PROTOCOL_SETTLE_MAX 2048u /* requests in one settle */
#define PROTOCOL_REQUESTS_MAX (8 * (uint64_t)PROTOCOL_SETTLE_MAX) /* bytes of their numbers */
#define PROTOCOL_OPEN_MAX (4 * (uint64_t)1024) /* bytes of the numbers of pools that are open */
#define PROTOCOL_HANDLES_MAX ((uint64_t)PROTOCOL_BATCH_MAX * HANDLE_WIRE_SIZE) /* their bytes */
#define PROTOCOL_LEASE_MAX ((uint64_t)LEASE_MAX * LEASE_WIRE_SIZE) /* bytes of a lease's slots */
#define PROTOCOL_LIST_MAX 64u                        /* elements in one reply of a list */
#define PROTOCOL_TEMPLATE_MAX 32768u                 /* bytes of a pool's template */
#define PROTOCOL_GROWTH_MAX (LAYOUT_GROWTH_SIZE - 1) /* bytes of a growth policy's text */
#define PROTOCOL_WATERMARK_MAX (LAYOUT_WATERMARK_SIZE - 1)
#define PROTOCOL_METHOD_MAX 32u   /* bytes of a method's name */
#define PROTOCOL_TEXT_MAX 400u    /* bytes of an error's message */
#define PROTOCOL_HOLDERS_MAX 383u /* bytes that say who holds a pool's slots */

/* M(NAME, name, wire name): messages <name>_request and <name>_reply belong to it. */
#define PROTOCOL_METHODS(M)                                                                        \
    M(HELLO, hello, "hello")                                                                       \
    M(RESUME, resume, "resume")                                                                    \
    M(SETTLE, settle, "settle")                                                                    \
    M(PING, ping, "ping")                                                                          \
    M(POOL_CREATE, pool_create, "pool.create")                                                     \
    M(POOL_OPEN, pool_open, "pool.open")                                                           \
    M(POOL_CLOSE, pool_close, "pool.close")                                                        \
    M(POOL_LIST, pool_list, "pool.list")                                                           \
    M(POOL_DESTROY, pool_destroy, "pool.destroy")                                                  \
    M(POOL_GROW, pool_grow, "pool.grow")                                                           \
    M(POOL_TRIM, pool_trim, "pool.trim")                                                           \
    M(LEASE, lease, "lease")                                                                       \
    M(ALLOCATE, allocate, "allocate")                                                              \
    M(CANCEL, cancel, "cancel")                                                                    \
    M(FREE, free, "free")                                                                          \
    M(RELEASE, release, "release")                                                                 \
    M(RETAIN, retain, "retain")                                                                    \
    M(ADOPT, adopt, "adopt")                                                                       \
    M(DETACH, detach, "detach")                                                                    \
    M(STATS, stats, "stats")                                                                       \
    M(STATS_RESET, stats_reset, "stats.reset")                                                     \
    M(HOLDERS, holders, "holders")                                                                 \
    M(EVENTS, events, "events")                                                                    \
    M(SESSIONS, sessions, "sessions")                                                              \
    M(CHECK, check, "check")

/* Every message and element of a list. */
#define PROTOCOL_MESSAGES(MESSAGE)                                                                 \
    MESSAGE(hello_request, HELLO_REQUEST)                                                          \
    MESSAGE(hello_reply, HELLO_REPLY)                                                              \
    MESSAGE(resume_request, RESUME_REQUEST)                                                        \
    MESSAGE(resume_reply, RESUME_REPLY)                                                            \
    MESSAGE(settle_request, SETTLE_REQUEST)                                                        \
    MESSAGE(settle_reply, SETTLE_REPLY)                                                            \
    MESSAGE(ping_request, PING_REQUEST)                                                            \
    MESSAGE(ping_reply, PING_REPLY)                                                                \
    MESSAGE(pool_create_request, POOL_CREATE_REQUEST)                                              \
    MESSAGE(pool_create_reply, POOL_CREATE_REPLY)                                                  \
    MESSAGE(pool_open_request, POOL_OPEN_REQUEST)                                                  \
    MESSAGE(pool_open_reply, POOL_OPEN_REPLY)                                                      \
    MESSAGE(pool_close_request, POOL_CLOSE_REQUEST)                                                \
    MESSAGE(pool_close_reply, POOL_CLOSE_REPLY)                                                    \
    MESSAGE(pool_list_request, POOL_LIST_REQUEST)                                                  \
    MESSAGE(pool_list_reply, POOL_LIST_REPLY)                                                      \
    MESSAGE(pool_info, POOL_INFO)                                                                  \
    MESSAGE(pool_destroy_request, POOL_DESTROY_REQUEST)                                            \
    MESSAGE(pool_destroy_reply, POOL_DESTROY_REPLY)                                                \
    MESSAGE(pool_grow_request, POOL_GROW_REQUEST)                                                  \
    MESSAGE(pool_grow_reply, POOL_GROW_REPLY)                                                      \
    MESSAGE(pool_trim_request, POOL_NAME_REQUEST)                                                  \
    MESSAGE(pool_trim_reply, POOL_TRIM_REPLY)                                                      \
    MESSAGE(lease_request, LEASE_REQUEST)                                                          \
    MESSAGE(lease_reply, LEASE_REPLY)                                                              \
    MESSAGE(allocate_request, ALLOCATE_REQUEST)                                                    \
    MESSAGE(allocate_reply, ALLOCATE_REPLY)                                                        \
    MESSAGE(cancel_request, CANCEL_REQUEST)                                                        \
    MESSAGE(cancel_reply, CANCEL_REPLY)                                                            \
    MESSAGE(free_request, HANDLES_REQUEST)                                                         \
    MESSAGE(free_reply, FREE_REPLY)                                                                \
    MESSAGE(release_request, HANDLES_REQUEST)                                                      \
    MESSAGE(release_reply, RELEASE_REPLY)                                                          \
    MESSAGE(retain_request, HANDLES_REQUEST)                                                       \
    MESSAGE(retain_reply, RETAIN_REPLY)                                                            \
    MESSAGE(adopt_request, HANDLES_REQUEST)                                                        \
    MESSAGE(adopt_reply, ADOPT_REPLY)                                                              \
    MESSAGE(detach_request, HANDLES_REQUEST)                                                       \
    MESSAGE(detach_reply, DETACH_REPLY)                                                            \
    MESSAGE(stats_request, POOL_NAME_REQUEST)                                                      \
    MESSAGE(stats_reply, STATS_REPLY)                                                              \
    MESSAGE(stats_reset_request, POOL_NAME_REQUEST)                                                \
    MESSAGE(stats_reset_reply, STATS_RESET_REPLY)                                                  \
    MESSAGE(holders_request, HOLDERS_REQUEST)                                                      \
    MESSAGE(holders_reply, HOLDERS_REPLY)                                                          \
    MESSAGE(holder_info, HOLDER_INFO)                                                              \
    MESSAGE(events_request, EVENTS_REQUEST)                                                        \
    MESSAGE(events_reply, EVENTS_REPLY)                                                            \
    MESSAGE(event_info, EVENT_INFO)                                                                \
    MESSAGE(sessions_request, SESSIONS_REQUEST)                                                    \
    MESSAGE(sessions_reply, SESSIONS_REPLY)                                                        \
    MESSAGE(session_info, SESSION_INFO)                                                            \
    MESSAGE(check_request, CHECK_REQUEST)                                                          \
    MESSAGE(check_reply, CHECK_REPLY)                                                              \
    MESSAGE(check_finding, CHECK_FINDING)                                                          \
    MESSAGE(error_head, ERROR_HEAD)

/*
 * Must be the first request of a connection. `witness` asks for the descriptor that lets it map
 * pools.
 */
#define HELLO_REQUEST(F, M)                                                                        \
    F(M, U32, version, UINT32_MAX, REQUIRED)                                                       \
    F(M, STR, name, PROTOCOL_NAME_MAX, OPTIONAL)                                                   \
    F(M, BOOL, witness, 1, OPTIONAL)
#define HELLO_REPLY(F, M)                                                                          \
    F(M, U32, version, UINT32_MAX, REQUIRED)                                                       \
    F(M, STR, release, PROTOCOL_NAME_MAX, REQUIRED)                                                \
    F(M, U64, session, UINT64_MAX, REQUIRED)                                                       \
    F(M, BIN, token, PROTOCOL_TOKEN_SIZE, REQUIRED)                                                \
    F(M, U32, message_max, UINT32_MAX, REQUIRED)                                                   \
    F(M, U32, batch_max, UINT32_MAX, REQUIRED)                                                     \
    F(M, U32, descriptors, 1, REQUIRED)

/*
 * In place of hello: the connection takes over the session, whose own is gone, of a daemon that may
 * have been started anew meanwhile. `pools` are the numbers of those that it has open, 32 bits each,
 * little-endian; others it leaves. Where it opened leased pools for writing the reply carries a new
 * eventfd for all of them.
 */
#define RESUME_REQUEST(F, M)                                                                       \
    F(M, U32, version, UINT32_MAX, REQUIRED)                                                       \
    F(M, U64, session, UINT64_MAX, REQUIRED)                                                       \
    F(M, BIN, token, PROTOCOL_TOKEN_SIZE, REQUIRED)                                                \
    F(M, BIN, pools, PROTOCOL_OPEN_MAX, OPTIONAL)
#define RESUME_REPLY(F, M)                                                                         \
    F(M, STR, release, PROTOCOL_NAME_MAX, REQUIRED)                                                \
    F(M, U32, descriptors, 1, REQUIRED)

/*
 * Nobody waits for the outcome of these allocates any more: those that wait end, without an answer,
 * and what they had been granted is freed. Their numbers, 64 bits each, little-endian.
 */
#define SETTLE_REQUEST(F, M) F(M, BIN, requests, PROTOCOL_REQUESTS_MAX, REQUIRED)
#define SETTLE_REPLY(F, M)                                                                         \
    F(M, U32, freed, UINT32_MAX, REQUIRED)                                                         \
    F(M, U32, cancelled, UINT32_MAX, REQUIRED)

#define PING_REQUEST(F, M)
#define PING_REPLY(F, M)                                                                           \
    F(M, U32, pid, UINT32_MAX, REQUIRED)                                                           \
    F(M, STR, release, PROTOCOL_NAME_MAX, REQUIRED)                                                \
    F(M, STR, instance, PROTOCOL_NAME_MAX, REQUIRED)

/*
 * What a pool is made of. Sizes and alignments in bytes, capacities, reserves and quotas in slots,
 * times in nanoseconds; mode as of a file, 0 = 0600; gid 0 = the caller's own; growth and watermark as the texts that
 * daemon/growth.h and daemon/watermark.h describe; `zero` 1 = on allocate, 2 = on free.
 */
#define POOL_CONFIGURATION(F, M)                                                                   \
    F(M, U32, kind, LAYOUT_LEASED, OPTIONAL)                                                       \
    F(M, U64, object_size, UINT64_MAX, OPTIONAL)                                                   \
    F(M, U32, alignment, UINT32_MAX, OPTIONAL)                                                     \
    F(M, U64, capacity, UINT64_MAX, OPTIONAL)                                                      \
    F(M, U64, capacity_max, UINT64_MAX, OPTIONAL)                                                  \
    F(M, STR, growth, PROTOCOL_GROWTH_MAX, OPTIONAL)                                               \
    F(M, U64, grow_ahead, UINT64_MAX, OPTIONAL)                                                    \
    F(M, STR, type, PROTOCOL_NAME_MAX, OPTIONAL)                                                   \
    F(M, U32, mode, 0777, OPTIONAL)                                                                \
    F(M, U32, gid, UINT32_MAX, OPTIONAL)                                                           \
    F(M, BOOL, owner_frees, 1, OPTIONAL)                                                           \
    F(M, U64, reserve_critical, UINT64_MAX, OPTIONAL)                                              \
    F(M, U64, reserve_normal, UINT64_MAX, OPTIONAL)                                                \
    F(M, U64, session_slots, UINT64_MAX, OPTIONAL)                                                 \
    F(M, U64, user_slots, UINT64_MAX, OPTIONAL)                                                    \
    F(M, U32, zero, 2, OPTIONAL)                                                                   \
    F(M, BIN, template, PROTOCOL_TEMPLATE_MAX, OPTIONAL)                                           \
    F(M, STR, watermark, PROTOCOL_WATERMARK_MAX, OPTIONAL)                                         \
    F(M, U64, hold_limit, INT64_MAX, OPTIONAL)                                                     \
    F(M, U64, trim_after, INT64_MAX, OPTIONAL)                                                     \
    F(M, BOOL, prefault, 1, OPTIONAL)                                                              \
    F(M, BOOL, lock, 1, OPTIONAL)                                                                  \
    F(M, BOOL, huge, 1, OPTIONAL)
#define POOL_CREATE_REQUEST(F, M)                                                                  \
    F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U32, change, UINT32_MAX, OPTIONAL)                                                        \
    POOL_CONFIGURATION(F, M)
#define POOL_CREATE_REPLY(F, M) F(M, U32, pool, UINT32_MAX, REQUIRED)

/*
 * What is given of the configuration is compared with the pool's. With `create` a pool that isn't
 * there is made of it. With `map` the reply carries three descriptors: ctl, slots, data. Without
 * `write` the caller can only look; with it, a leased pool has slots writable, a fourth descriptor,
 * the eventfd through which the daemon is told of frees, and its template in the reply.
 */
#define POOL_OPEN_REQUEST(F, M)                                                                    \
    F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, BOOL, write, 1, OPTIONAL)                                                                 \
    F(M, BOOL, map, 1, OPTIONAL)                                                                   \
    F(M, BOOL, create, 1, OPTIONAL)                                                                \
    POOL_CONFIGURATION(F, M)
#define POOL_OPEN_REPLY(F, M)                                                                      \
    F(M, U32, pool, UINT32_MAX, REQUIRED)                                                          \
    F(M, U32, nonce, UINT16_MAX, REQUIRED)                                                         \
    F(M, U32, member, SLOT_MEMBER_POOL, REQUIRED)                                                  \
    F(M, BOOL, created, 1, REQUIRED)                                                               \
    F(M, U64, object_size, UINT64_MAX, REQUIRED)                                                   \
    F(M, U64, stride, UINT64_MAX, REQUIRED)                                                        \
    F(M, U32, alignment, UINT32_MAX, REQUIRED)                                                     \
    F(M, U64, capacity, UINT64_MAX, REQUIRED)                                                      \
    F(M, STR, type, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U32, kind, LAYOUT_LEASED, REQUIRED)                                                       \
    F(M, BIN, template, PROTOCOL_TEMPLATE_MAX, OPTIONAL)                                           \
    F(M, U32, descriptors, 4, REQUIRED)

/* The caller has unmapped the pool. What it still holds there is freed. */
#define POOL_CLOSE_REQUEST(F, M) F(M, U32, pool, UINT32_MAX, REQUIRED)
#define POOL_CLOSE_REPLY(F, M) F(M, U32, freed, UINT32_MAX, REQUIRED)

/* Pools with an id above `after`, in that order; or, by `name`, that one alone. */
#define POOL_LIST_REQUEST(F, M)                                                                    \
    F(M, U32, after, UINT32_MAX, OPTIONAL)                                                         \
    F(M, STR, name, PROTOCOL_NAME_MAX, OPTIONAL)
#define POOL_LIST_REPLY(F, M)                                                                      \
    F(M, LIST, pools, pool_info, REQUIRED)                                                         \
    F(M, BOOL, more, 1, REQUIRED)
#define POOL_INFO(F, M)                                                                            \
    F(M, U32, pool, UINT32_MAX, REQUIRED)                                                          \
    F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, STR, type, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U32, kind, LAYOUT_LEASED, REQUIRED)                                                       \
    F(M, U64, object_size, UINT64_MAX, REQUIRED)                                                   \
    F(M, U32, alignment, UINT32_MAX, REQUIRED)                                                     \
    F(M, U64, stride, UINT64_MAX, REQUIRED)                                                        \
    F(M, U64, capacity, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, capacity_max, UINT64_MAX, REQUIRED)                                                  \
    F(M, U64, reserve, UINT64_MAX, REQUIRED)                                                       \
    F(M, STR, growth, PROTOCOL_GROWTH_MAX, REQUIRED)                                               \
    F(M, U64, grow_ahead, UINT64_MAX, REQUIRED)                                                    \
    F(M, BOOL, owner_frees, 1, REQUIRED)                                                           \
    F(M, U64, reserve_critical, UINT64_MAX, REQUIRED)                                              \
    F(M, U64, reserve_normal, UINT64_MAX, REQUIRED)                                                \
    F(M, U64, session_slots, UINT64_MAX, REQUIRED)                                                 \
    F(M, U64, user_slots, UINT64_MAX, REQUIRED)                                                    \
    F(M, U32, zero, 2, REQUIRED)                                                                   \
    F(M, U64, template_size, UINT64_MAX, REQUIRED)                                                 \
    F(M, STR, watermark, PROTOCOL_WATERMARK_MAX, REQUIRED)                                         \
    F(M, U64, hold_limit, INT64_MAX, REQUIRED)                                                     \
    F(M, U64, trim_after, INT64_MAX, REQUIRED)                                                     \
    F(M, BOOL, prefault, 1, REQUIRED)                                                              \
    F(M, BOOL, lock, 1, REQUIRED)                                                                  \
    F(M, BOOL, huge, 1, REQUIRED)                                                                  \
    F(M, U64, allocated, UINT64_MAX, REQUIRED)                                                     \
    F(M, U32, members, UINT32_MAX, REQUIRED)                                                       \
    F(M, U32, uid, UINT32_MAX, REQUIRED)                                                           \
    F(M, U32, gid, UINT32_MAX, REQUIRED)                                                           \
    F(M, U32, mode, 0777, REQUIRED)                                                                \
    F(M, BOOL, damaged, 1, REQUIRED)                                                               \
    F(M, U64, memory, UINT64_MAX, REQUIRED)

#define POOL_NAME_REQUEST(F, M) F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)

/*
 * Grows the pool to `capacity` slots, if that is more than it has; before that, raises the most
 * that it may grow to, to `capacity_max`. 0 leaves either as it is.
 */
#define POOL_GROW_REQUEST(F, M)                                                                    \
    F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U64, capacity, UINT64_MAX, OPTIONAL)                                                      \
    F(M, U64, capacity_max, UINT64_MAX, OPTIONAL)
#define POOL_GROW_REPLY(F, M)                                                                      \
    F(M, U64, capacity, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, capacity_max, UINT64_MAX, REQUIRED)

/* Gives back the memory of free slots; how much that was. */
#define POOL_TRIM_REPLY(F, M) F(M, U64, bytes, UINT64_MAX, REQUIRED)

/* Refused while slots are allocated or others are members, unless forced. */
#define POOL_DESTROY_REQUEST(F, M)                                                                 \
    F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, BOOL, force, 1, OPTIONAL)                                                                 \
    F(M, U32, change, UINT32_MAX, OPTIONAL)
#define POOL_DESTROY_REPLY(F, M) F(M, U64, freed, UINT64_MAX, REQUIRED)

/*
 * Slots of a leased pool, up to `count`, for the caller to allocate by itself: each a 32-bit number,
 * little-endian. They are CACHED. Never waits; there may be none. `thread` 0 = they are the member's;
 * the number of a biased thread of the session = they are its; LEASE_THREAD_NEW = so, of a new one,
 * whose number the reply has, if there is one left: else they are the member's.
 */
#define LEASE_THREAD_NEW SLOT_MEMBER_POOL
#define LEASE_REQUEST(F, M)                                                                        \
    F(M, U32, pool, UINT32_MAX, REQUIRED)                                                          \
    F(M, U32, count, LEASE_MAX, REQUIRED)                                                          \
    F(M, U32, thread, LEASE_THREAD_NEW, OPTIONAL)
#define LEASE_REPLY(F, M)                                                                          \
    F(M, BIN, slots, PROTOCOL_LEASE_MAX, REQUIRED)                                                 \
    F(M, U32, thread, LEASE_THREAD_NEW, OPTIONAL)

/*
 * `count` slots or none. `timeout` in nanoseconds: 0 = don't wait, negative = for ever. `request`
 * is the session's own number for this request, never used twice by it. `priority` 0 = normal, 1 =
 * critical, 2 = best effort. An evictable object may be freed for a critical request.
 */
#define ALLOCATE_REQUEST(F, M)                                                                     \
    F(M, U32, pool, UINT32_MAX, REQUIRED)                                                          \
    F(M, U64, request, LAYOUT_REQUEST_MAX, REQUIRED)                                               \
    F(M, U32, count, PROTOCOL_BATCH_MAX, OPTIONAL)                                                 \
    F(M, I64, timeout, 0, OPTIONAL)                                                                \
    F(M, U32, priority, 2, OPTIONAL)                                                               \
    F(M, BOOL, evictable, 1, OPTIONAL)
#define ALLOCATE_REPLY(F, M) F(M, BIN, handles, PROTOCOL_HANDLES_MAX, REQUIRED)

/* Ends the session's waiting request of that number in the pool; 0 = all of them there. */
#define CANCEL_REQUEST(F, M)                                                                       \
    F(M, U32, pool, UINT32_MAX, REQUIRED)                                                          \
    F(M, U64, request, LAYOUT_REQUEST_MAX, OPTIONAL)
#define CANCEL_REPLY(F, M) F(M, U32, cancelled, UINT32_MAX, REQUIRED)

/*
 * All of them or none.
 *
 * Here, in pool.create and in pool.destroy, `change` makes it safe to repeat a request whose reply
 * was lost: it is the session's own number for it, one more than that of its last such request (0 =
 * none; it skips 0 when it wraps). A change of that number that was carried out already is answered
 * as it was then, and not carried out again, if it is one of the last PROTOCOL_CHANGES_MAX.
 */
#define PROTOCOL_CHANGES_MAX 32u
#define HANDLES_REQUEST(F, M)                                                                      \
    F(M, U32, pool, UINT32_MAX, REQUIRED)                                                          \
    F(M, BIN, handles, PROTOCOL_HANDLES_MAX, REQUIRED)                                             \
    F(M, U32, change, UINT32_MAX, OPTIONAL)
#define FREE_REPLY(F, M) F(M, U32, freed, PROTOCOL_BATCH_MAX, REQUIRED)
#define RELEASE_REPLY(F, M) F(M, U32, released, PROTOCOL_BATCH_MAX, REQUIRED)
#define RETAIN_REPLY(F, M) F(M, U32, retained, PROTOCOL_BATCH_MAX, REQUIRED)
#define ADOPT_REPLY(F, M) F(M, U32, adopted, PROTOCOL_BATCH_MAX, REQUIRED)
#define DETACH_REPLY(F, M) F(M, U32, detached, PROTOCOL_BATCH_MAX, REQUIRED)

/*
 * Numbers since `age` ns ago, when the pool was made or its statistics reset; `available`,
 * `waiters` and `held_long` are of now. Waits and holds in ns. The average in thousandths.
 */
#define STATS_REPLY(F, M)                                                                          \
    F(M, U32, pool, UINT32_MAX, REQUIRED)                                                          \
    F(M, U64, capacity, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, current_usage, UINT64_MAX, REQUIRED)                                                 \
    F(M, U64, available, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, cached, UINT64_MAX, REQUIRED)                                                        \
    F(M, U64, peak_usage, UINT64_MAX, REQUIRED)                                                    \
    F(M, U64, total_allocations, UINT64_MAX, REQUIRED)                                             \
    F(M, U64, total_deallocations, UINT64_MAX, REQUIRED)                                           \
    F(M, U64, allocation_failures, UINT64_MAX, REQUIRED)                                           \
    F(M, U64, timeouts, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, reclaimed, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, waiters, UINT64_MAX, REQUIRED)                                                       \
    F(M, U64, total_waits, UINT64_MAX, REQUIRED)                                                   \
    F(M, U64, growth_count, UINT64_MAX, REQUIRED)                                                  \
    F(M, U64, evictions, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, average_usage, UINT64_MAX, REQUIRED)                                                 \
    F(M, U64, watermarks, UINT64_MAX, REQUIRED)                                                    \
    F(M, U64, held_long, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, total_held_long, UINT64_MAX, REQUIRED)                                               \
    F(M, U64, wait_p50, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, wait_p99, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, wait_max, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, hold_p50, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, hold_p99, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, hold_max, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, age, UINT64_MAX, REQUIRED)
#define STATS_RESET_REPLY(F, M)

/* Who holds most of the pool's slots, most first. `session` 0 is the pool itself. Ages in ns. */
#define HOLDERS_REQUEST(F, M) F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)
#define HOLDERS_REPLY(F, M) F(M, LIST, holders, holder_info, REQUIRED)
#define HOLDER_INFO(F, M)                                                                          \
    F(M, U64, session, UINT64_MAX, REQUIRED)                                                       \
    F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U32, pid, UINT32_MAX, REQUIRED)                                                           \
    F(M, U32, uid, UINT32_MAX, REQUIRED)                                                           \
    F(M, BOOL, connected, 1, REQUIRED)                                                             \
    F(M, U64, slots, UINT64_MAX, REQUIRED)                                                         \
    F(M, U64, oldest, UINT64_MAX, REQUIRED)

/*
 * Events with a number above `after`, oldest first, of the pools that the caller may read, or of
 * that one alone; without any, waits for one as allocate does. `next` is what to give as `after`
 * the next time; `lost` how many there were since `after` that are no longer kept.
 */
#define EVENTS_REQUEST(F, M)                                                                       \
    F(M, U64, after, UINT64_MAX, OPTIONAL)                                                         \
    F(M, STR, name, PROTOCOL_NAME_MAX, OPTIONAL)                                                   \
    F(M, I64, timeout, 0, OPTIONAL)
#define EVENTS_REPLY(F, M)                                                                         \
    F(M, LIST, events, event_info, REQUIRED)                                                       \
    F(M, U64, next, UINT64_MAX, REQUIRED)                                                          \
    F(M, U64, lost, UINT64_MAX, REQUIRED)
#define EVENT_INFO(F, M)                                                                           \
    F(M, U64, number, UINT64_MAX, REQUIRED)                                                        \
    F(M, STR, kind, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U64, time, UINT64_MAX, REQUIRED)                                                          \
    F(M, U32, pool, UINT32_MAX, REQUIRED)                                                          \
    F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U64, capacity, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, allocated, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, count, UINT64_MAX, REQUIRED)                                                         \
    F(M, U64, session, UINT64_MAX, REQUIRED)

/* Sessions with an id above `after`, in that order. */
#define SESSIONS_REQUEST(F, M) F(M, U64, after, UINT64_MAX, OPTIONAL)
#define SESSIONS_REPLY(F, M)                                                                       \
    F(M, LIST, sessions, session_info, REQUIRED)                                                   \
    F(M, BOOL, more, 1, REQUIRED)
#define SESSION_INFO(F, M)                                                                         \
    F(M, U64, session, UINT64_MAX, REQUIRED)                                                       \
    F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U32, pid, UINT32_MAX, REQUIRED)                                                           \
    F(M, U32, uid, UINT32_MAX, REQUIRED)                                                           \
    F(M, BOOL, connected, 1, REQUIRED)                                                             \
    F(M, U32, pools, UINT32_MAX, REQUIRED)                                                         \
    F(M, U64, allocated, UINT64_MAX, REQUIRED)                                                     \
    F(M, U32, waiting, UINT32_MAX, REQUIRED)

/*
 * Whether all that the instance has in shared memory obeys the laws, and the daemon's own memory says
 * the same: how much was judged, and what was found, of which `findings` has no more than a list can.
 * A violation is a fault of somebody's; what is none is worth to be known.
 */
#define CHECK_REQUEST(F, M)
#define CHECK_REPLY(F, M)                                                                          \
    F(M, U64, pools, UINT64_MAX, REQUIRED)                                                         \
    F(M, U64, sessions, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, slots, UINT64_MAX, REQUIRED)                                                         \
    F(M, U64, violations, UINT64_MAX, REQUIRED)                                                    \
    F(M, U64, notes, UINT64_MAX, REQUIRED)                                                         \
    F(M, LIST, findings, check_finding, REQUIRED)
#define CHECK_FINDING(F, M)                                                                        \
    F(M, BOOL, violation, 1, REQUIRED)                                                             \
    F(M, STR, text, PROTOCOL_TEXT_MAX, REQUIRED)

/*
 * Errors: E(NAME, number, fields of its detail). What travels is this number, the name, one line
 * for a person, and `detail`, a map of the fields named here, out of those in
 * PROTOCOL_ERROR_FIELDS.
 */
#define ERROR_HEAD(F, M)                                                                           \
    F(M, U32, code, UINT32_MAX, REQUIRED)                                                          \
    F(M, STR, name, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, STR, message, PROTOCOL_TEXT_MAX, REQUIRED)

#define PROTOCOL_ERRORS(E)                                                                         \
    E(MALFORMED, 1, NO_FIELDS)                                                                     \
    E(UNKNOWN_METHOD, 2, NO_FIELDS)                                                                \
    E(INVALID_ARGUMENT, 3, ARGUMENT_FIELDS)                                                        \
    E(PROTOCOL_MISMATCH, 4, REQUESTED_ACTUAL_FIELDS)                                               \
    E(HELLO_REQUIRED, 5, NO_FIELDS)                                                                \
    E(NOT_PERMITTED, 6, POOL_FIELDS)                                                               \
    E(LIMIT_EXCEEDED, 7, MAX_FIELDS)                                                               \
    E(OUT_OF_MEMORY, 8, NO_FIELDS)                                                                 \
    E(SYSTEM, 9, SYSTEM_FIELDS)                                                                    \
    E(SHUTTING_DOWN, 10, NO_FIELDS)                                                                \
    E(NO_SUCH_SESSION, 11, NO_FIELDS)                                                              \
    E(NO_SUCH_POOL, 20, POOL_FIELDS)                                                               \
    E(POOL_EXISTS, 21, POOL_FIELDS)                                                                \
    E(POOL_IN_USE, 22, IN_USE_FIELDS)                                                              \
    E(POOL_DESTROYED, 23, POOL_FIELDS)                                                             \
    E(NOT_A_MEMBER, 24, POOL_FIELDS)                                                               \
    E(CONFIG_MISMATCH, 25, CONFIG_FIELDS)                                                          \
    E(CANCELLED, 26, POOL_FIELDS)                                                                  \
    E(INVALID_CAPACITY, 30, CAPACITY_FIELDS)                                                       \
    E(INVALID_ALIGNMENT, 31, ALIGNMENT_FIELDS)                                                     \
    E(INVALID_OBJECT_SIZE, 32, REQUESTED_MAX_FIELDS)                                               \
    E(OBJECT_SIZE_MISMATCH, 33, MISMATCH_FIELDS)                                                   \
    E(ALIGNMENT_MISMATCH, 34, MISMATCH_FIELDS)                                                     \
    E(TYPE_MISMATCH, 35, TYPE_FIELDS)                                                              \
    E(SHARED_MEMORY_FULL, 36, SPACE_FIELDS)                                                        \
    E(POOL_EXHAUSTED, 40, EXHAUSTED_FIELDS)                                                        \
    E(TIMEOUT, 41, EXHAUSTED_FIELDS)                                                               \
    E(STALE_HANDLE, 42, HANDLE_FIELDS)                                                             \
    E(WRONG_POOL, 43, HANDLE_FIELDS)                                                               \
    E(DUPLICATE_HANDLE, 44, HANDLE_FIELDS)                                                         \
    E(OBJECT_SHARED, 45, HANDLE_FIELDS)                                                            \
    E(NOT_HOLDER, 46, HANDLE_FIELDS)                                                               \
    E(MAX_CAPACITY_EXCEEDED, 47, GROWTH_FIELDS)                                                    \
    E(QUOTA_EXCEEDED, 48, QUOTA_FIELDS)

#define NO_FIELDS(F, M)
#define ARGUMENT_FIELDS(F, M) F(M, STR, field, PROTOCOL_NAME_MAX, OPTIONAL)
#define POOL_FIELDS(F, M) F(M, STR, pool, PROTOCOL_NAME_MAX, OPTIONAL)
#define MAX_FIELDS(F, M) F(M, U64, max, UINT64_MAX, REQUIRED)
#define SYSTEM_FIELDS(F, M) F(M, U32, system_error, 4095, REQUIRED)
#define REQUESTED_ACTUAL_FIELDS(F, M)                                                              \
    F(M, U64, requested, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, actual, UINT64_MAX, REQUIRED)
#define REQUESTED_MAX_FIELDS(F, M)                                                                 \
    F(M, U64, requested, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, max, UINT64_MAX, REQUIRED)
#define CAPACITY_FIELDS(F, M)                                                                      \
    F(M, U64, capacity, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, max, UINT64_MAX, REQUIRED)
#define ALIGNMENT_FIELDS(F, M)                                                                     \
    F(M, U64, alignment, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, max, UINT64_MAX, REQUIRED)
#define IN_USE_FIELDS(F, M)                                                                        \
    F(M, STR, pool, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U64, allocated, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, members, UINT64_MAX, REQUIRED)
#define MISMATCH_FIELDS(F, M)                                                                      \
    F(M, STR, pool, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U64, requested, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, actual, UINT64_MAX, REQUIRED)
#define TYPE_FIELDS(F, M)                                                                          \
    F(M, STR, pool, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, STR, requested_type, PROTOCOL_NAME_MAX, REQUIRED)                                         \
    F(M, STR, actual_type, PROTOCOL_NAME_MAX, REQUIRED)
#define CONFIG_FIELDS(F, M)                                                                        \
    F(M, STR, pool, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, STR, field, PROTOCOL_NAME_MAX, REQUIRED)
#define SPACE_FIELDS(F, M)                                                                         \
    F(M, U64, needed, UINT64_MAX, REQUIRED)                                                        \
    F(M, U64, available, UINT64_MAX, REQUIRED)
#define EXHAUSTED_FIELDS(F, M)                                                                     \
    F(M, STR, pool, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U64, capacity, UINT64_MAX, REQUIRED)                                                      \
    F(M, U64, allocated, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, requested, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, waiters, UINT64_MAX, REQUIRED)                                                       \
    F(M, U64, reserved, UINT64_MAX, REQUIRED)                                                      \
    F(M, STR, holders, PROTOCOL_HOLDERS_MAX, OPTIONAL)
#define GROWTH_FIELDS(F, M)                                                                        \
    F(M, STR, pool, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U64, current, UINT64_MAX, REQUIRED)                                                       \
    F(M, U64, requested, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, max, UINT64_MAX, REQUIRED)                                                           \
    F(M, U64, allocated, UINT64_MAX, OPTIONAL)                                                     \
    F(M, U64, waiters, UINT64_MAX, OPTIONAL)                                                       \
    F(M, U64, reserved, UINT64_MAX, OPTIONAL)                                                      \
    F(M, STR, holders, PROTOCOL_HOLDERS_MAX, OPTIONAL)
#define QUOTA_FIELDS(F, M)                                                                         \
    F(M, STR, pool, PROTOCOL_NAME_MAX, OPTIONAL)                                                   \
    F(M, STR, field, PROTOCOL_NAME_MAX, REQUIRED)                                                  \
    F(M, U64, requested, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, allocated, UINT64_MAX, REQUIRED)                                                     \
    F(M, U64, max, UINT64_MAX, REQUIRED)
#define HANDLE_FIELDS(F, M)                                                                        \
    F(M, STR, pool, PROTOCOL_NAME_MAX, REQUIRED)                                                   \
    F(M, U64, position, UINT64_MAX, REQUIRED)

/* Every field that an error can carry, once. */
#define PROTOCOL_ERROR_FIELDS(F, M)                                                                \
    F(M, STR, field, PROTOCOL_NAME_MAX, OPTIONAL)                                                  \
    F(M, STR, pool, PROTOCOL_NAME_MAX, OPTIONAL)                                                   \
    F(M, STR, requested_type, PROTOCOL_NAME_MAX, OPTIONAL)                                         \
    F(M, STR, actual_type, PROTOCOL_NAME_MAX, OPTIONAL)                                            \
    F(M, STR, holders, PROTOCOL_HOLDERS_MAX, OPTIONAL)                                             \
    F(M, U64, capacity, UINT64_MAX, OPTIONAL)                                                      \
    F(M, U64, current, UINT64_MAX, OPTIONAL)                                                       \
    F(M, U64, reserved, UINT64_MAX, OPTIONAL)                                                      \
    F(M, U64, allocated, UINT64_MAX, OPTIONAL)                                                     \
    F(M, U64, requested, UINT64_MAX, OPTIONAL)                                                     \
    F(M, U64, actual, UINT64_MAX, OPTIONAL)                                                        \
    F(M, U64, max, UINT64_MAX, OPTIONAL)                                                           \
    F(M, U64, alignment, UINT64_MAX, OPTIONAL)                                                     \
    F(M, U64, needed, UINT64_MAX, OPTIONAL)                                                        \
    F(M, U64, available, UINT64_MAX, OPTIONAL)                                                     \
    F(M, U64, members, UINT64_MAX, OPTIONAL)                                                       \
    F(M, U64, waiters, UINT64_MAX, OPTIONAL)                                                       \
    F(M, U64, position, UINT64_MAX, OPTIONAL)                                                      \
    F(M, U32, system_error, 4095, OPTIONAL)

#endif
