/* SPDX-License-Identifier: MIT */
/*
 * libfastalloc: pools of fixed-size objects in shared memory, across processes.
 *
 * A daemon, fastallocd, owns the pools. A process connects to it, opens a pool by name, allocates
 * objects and gets a handle for each: a plain 16-byte value that names the object in every process.
 * Whoever opened the same pool follows the handle to the object in place, with no copy and no
 * system call. When a process dies, by whatever signal, what it held is free again within a moment.
 *
 *     fastalloc_connection_t *connection;
 *     fastalloc_pool_t *pool;
 *     fastalloc_handle_t handle;
 *     fastalloc_error_t error = FASTALLOC_ERROR_INIT;
 *     fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
 *     options.create = true;
 *     options.object_size = sizeof(struct particle);
 *     options.capacity = 1000;
 *
 *     if (fastalloc_connect(NULL, &connection, &error) < 0 ||
 *         fastalloc_open(connection, "particles", &options, &pool, &error) < 0 ||
 *         fastalloc_allocate(pool, FASTALLOC_NOWAIT, &handle, &error) < 0)
 *         errx(1, "%s", error.message);
 *     struct particle *particle = fastalloc_get(pool, handle);
 *
 * Conventions
 *   Results.  0, or a negative code: -1 to -4095 is a negated errno of this machine, the
 *             FASTALLOC_ERR_ codes lie below -10000. Results come last, untouched on failure.
 *   Errors.   Each call that can fail takes a fastalloc_error_t *, which may be NULL: the caller's,
 *             filled in on failure, untouched on success.
 *   Times.    Nanoseconds, as int64_t: FASTALLOC_NOWAIT, FASTALLOC_FOREVER (any negative), or how
 *             long, as in 20 * FASTALLOC_MILLISECOND. A wait never ends early. In a brokered pool
 *             to allocate and to free are requests to the daemon, NOWAIT too; in a leased one few
 *             of them are (enum fastalloc_kind).
 *   Daemon.   It may be restarted, or die, at any time: handles and pointers stay what they are, and
 *             a call that is under way waits until it is there again, and is done once (where twice
 *             makes no difference, maybe twice). How long:
 *             To allocate or wait for events with a timeout T ends by T if there is no daemon
 *             (FASTALLOC_ERR_TIMEOUT, without `reserved` and `holders`; to wait for events
 *             FASTALLOC_ERR_UNREACHABLE), and 50 ms later at most if there is one that doesn't
 *             answer. With FASTALLOC_NOWAIT both fail with FASTALLOC_ERR_UNREACHABLE at once, or with
 *             FASTALLOC_ERR_NO_REPLY after these 50 ms.
 *             All else ends with FASTALLOC_ERR_UNREACHABLE when no daemon was there for the
 *             connection's reconnect_limit, with FASTALLOC_FOREVER too, or with
 *             FASTALLOC_ERR_NO_REPLY when one doesn't answer within its reply_limit. The connection
 *             can still be used then: the next call tries again. Slots that such an allocation gets
 *             after all are freed; whether another request that ended so was carried out isn't known.
 *             When the session itself is gone every call fails with FASTALLOC_ERR_DISCONNECTED.
 *   Structs.  Options, statistics and errors begin with their size and are begun with their _INIT
 *             macro, so that programs built today go on working with later versions of the library.
 *             The macros are for automatic variables. Without its size an error is left as it is.
 *   Threads.  Every function may be called by any thread, on the same connection or pool too;
 *             requests of several threads travel side by side. Only closing needs that nobody uses
 *             the thing any more. No function is a cancellation point.
 *   Fork.     A child doesn't inherit a session: in it, calls fail with FASTALLOC_ERR_FORKED,
 *             handles give NULL, and nothing of the pools is mapped: a pointer of the parent's must
 *             not be touched. It connects by itself, and may (need not) close what it has of its
 *             parent's. While one thread is in fastalloc_connect() or fastalloc_open(), another one
 *             must not fork a child that goes on without exec: it could keep the session alive.
 *   Signals.  The library installs no handler, starts no thread and raises no SIGPIPE.
 *
 * Caveats
 *   An object's bytes are what the last user left in them, unless the pool says otherwise.
 *   A pointer is good until its object is freed: by whoever may, by the end of the session that
 *   holds it, or, if it was allocated as evictable, for a critical request. It stays for sure while
 *   this session holds it in a pool made with owner_frees, or retains it. Who has no such hold
 *   reads first, then asks fastalloc_still_valid(), and only then believes what was read. Objects
 *   never move, nor does a pool that grows: pointers stay what they are until it is closed.
 *   Members with write access to a pool share its bytes and can overwrite one another there. They
 *   can't touch other pools, nor, unless the pool is leased, what is allocated and what is free.
 */
#ifndef FASTALLOC_H
#define FASTALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <fastalloc/handle.h>
#include <fastalloc/view.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FASTALLOC_PUBLIC __attribute__((visibility("default")))
#define FASTALLOC_MUST_CHECK __attribute__((warn_unused_result))

/* A struct of the type, all zero but its size: what the _INIT macros are made of. */
#ifdef __cplusplus
#define FASTALLOC_SIZED(type)                                                                      \
    ([] {                                                                                          \
        type sized = type();                                                                       \
        sized.size = sizeof(type);                                                                 \
        return sized;                                                                              \
    }())
#else
#define FASTALLOC_SIZED(type) ((type){.size = sizeof(type)})
#endif

typedef struct fastalloc_connection fastalloc_connection_t;
typedef struct fastalloc_pool fastalloc_pool_t;

#define FASTALLOC_NOWAIT INT64_C(0)
#define FASTALLOC_FOREVER INT64_C(-1)
#define FASTALLOC_MILLISECOND INT64_C(1000000)
#define FASTALLOC_SECOND INT64_C(1000000000)

/* The most handles that one fastalloc_allocate_many() or fastalloc_free_many() takes. */
#define FASTALLOC_BATCH_MAX 2048

/* The most bytes of a pool's, type's or client's name, the final NUL not included. */
#define FASTALLOC_NAME_MAX 63

/*
 * Errors. In brackets the fields of fastalloc_error_t that are set; all of these codes set
 * `message`.
 */
enum fastalloc_result {
    /* The daemon or this library broke the protocol, or something else answers at the socket. */
    FASTALLOC_ERR_MALFORMED = -10001,
    FASTALLOC_ERR_UNKNOWN_METHOD = -10002,
    FASTALLOC_ERR_HELLO_REQUIRED = -10005,

    /* Daemon and library are of different ages. [requested, actual] */
    FASTALLOC_ERR_PROTOCOL_MISMATCH = -10004,

    FASTALLOC_ERR_INVALID_ARGUMENT = -10003, /* [field] */
    FASTALLOC_ERR_NOT_PERMITTED = -10006,    /* [pool] */
    FASTALLOC_ERR_LIMIT_EXCEEDED = -10007,   /* [max] */
    FASTALLOC_ERR_OUT_OF_MEMORY = -10008,    /* the daemon's own, not shared memory */
    FASTALLOC_ERR_SYSTEM = -10009,           /* a system call of the daemon failed [system_error] */
    FASTALLOC_ERR_SHUTTING_DOWN = -10010,
    FASTALLOC_ERR_NO_SUCH_SESSION = -10011, /* to resume; the library says DISCONNECTED */

    FASTALLOC_ERR_NO_SUCH_POOL = -10020,   /* [pool] */
    FASTALLOC_ERR_POOL_EXISTS = -10021,    /* [pool] */
    FASTALLOC_ERR_POOL_IN_USE = -10022,    /* [pool, allocated, members] */
    FASTALLOC_ERR_POOL_DESTROYED = -10023, /* while this call waited, or before [pool] */

    /* The session hasn't opened the pool, or for reading only. [pool] */
    FASTALLOC_ERR_NOT_A_MEMBER = -10024,

    /* The pool exists, but `field` of it is something else than is asked for. [pool, field] */
    FASTALLOC_ERR_CONFIG_MISMATCH = -10025,

    FASTALLOC_ERR_CANCELLED = -10026, /* by fastalloc_cancel() [pool] */

    FASTALLOC_ERR_INVALID_CAPACITY = -10030,    /* [capacity, max] */
    FASTALLOC_ERR_INVALID_ALIGNMENT = -10031,   /* no power of two, or above max [alignment, max] */
    FASTALLOC_ERR_INVALID_OBJECT_SIZE = -10032, /* [requested, max] */
    FASTALLOC_ERR_OBJECT_SIZE_MISMATCH = -10033, /* [pool, requested, actual] */
    FASTALLOC_ERR_ALIGNMENT_MISMATCH = -10034,   /* [pool, requested, actual] */
    FASTALLOC_ERR_TYPE_MISMATCH = -10035,        /* [pool, requested_type, actual_type] */
    FASTALLOC_ERR_SHARED_MEMORY_FULL = -10036,   /* bytes [needed, available] */

    /* [pool, capacity, allocated, requested, waiters, reserved, holders] */
    FASTALLOC_ERR_POOL_EXHAUSTED = -10040,
    FASTALLOC_ERR_TIMEOUT = -10041,      /* the same */
    FASTALLOC_ERR_STALE_HANDLE = -10042, /* freed already, or never given out [pool, position] */
    FASTALLOC_ERR_WRONG_POOL = -10043, /* the handle is another pool's, or none [pool, position] */
    FASTALLOC_ERR_DUPLICATE_HANDLE = -10044, /* twice in one call [pool, position] */
    FASTALLOC_ERR_OBJECT_SHARED = -10045, /* others hold it: release it instead [pool, position] */
    FASTALLOC_ERR_NOT_HOLDER = -10046,    /* another session holds it [pool, position] */

    /* A pool that grows has come to its maximum: its capacity is `current`, and would have to be
       `requested`. [pool, current, requested, max, allocated, waiters, reserved, holders] */
    FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED = -10047,
    /* Of a session or a user, in a pool or in all. [pool, field, requested, allocated, max] */
    FASTALLOC_ERR_QUOTA_EXCEEDED = -10048,

    /* Decided here, without the daemon. */
    /* No daemon answers at the socket, or the one that does ends the connection before there is a
       session. A session that there is goes on when one answers: try again [system_error] */
    FASTALLOC_ERR_UNREACHABLE = -10100,
    /* The session is gone, for the reason that the message says: close it and connect anew. */
    FASTALLOC_ERR_DISCONNECTED = -10101,
    FASTALLOC_ERR_NO_REPLY = -10102,    /* the daemon didn't answer in time; try again */
    FASTALLOC_ERR_FORKED = -10103,      /* the connection or pool is the parent process's */
    FASTALLOC_ERR_SOCKET_PATH = -10104, /* empty, or too long for a Unix socket [max] */
};

/*
 * "FASTALLOC_ERR_POOL_EXHAUSTED", "ENOMEM", ...; "OK" for 0, "unknown" for what is in no list.
 * Never NULL, never to be freed.
 */
FASTALLOC_PUBLIC const char *fastalloc_result_name(int result);

/*
 * What went wrong. `message` is one line: what failed, where, why, and what to do next. Fields that
 * the code doesn't have are zero. Sizes are in bytes; capacity, current, allocated, reserved and
 * requested (by an allocation, unless the code says otherwise) in slots. `reserved` slots are free,
 * but kept for requests that are more important. `holders` says in words which sessions hold most
 * of the pool.
 */
typedef struct fastalloc_error {
    size_t size;
    int code;
    int system_error; /* an errno */
    uint64_t capacity;
    uint64_t current;
    uint64_t allocated;
    uint64_t reserved;
    uint64_t requested;
    uint64_t actual;
    uint64_t max;
    uint64_t alignment;
    uint64_t needed;
    uint64_t available;
    uint64_t members;
    uint64_t waiters;
    uint64_t position; /* of the offending handle in the call's array */
    char field[FASTALLOC_NAME_MAX + 1];
    char pool[FASTALLOC_NAME_MAX + 1];
    char requested_type[FASTALLOC_NAME_MAX + 1];
    char actual_type[FASTALLOC_NAME_MAX + 1];
    char holders[384];
    char message[512];
} fastalloc_error_t;

#define FASTALLOC_ERROR_INIT FASTALLOC_SIZED(fastalloc_error_t)

/* ---- Connection ------------------------------------------------------------------------------ */

typedef struct fastalloc_connect_options {
    size_t size;
    /*
     * The daemon's socket. NULL: the environment's FASTALLOC_SOCKET; else the user's own instance,
     * $XDG_RUNTIME_DIR/fastalloc/default.sock, if there is one; else /run/fastalloc/default.sock.
     */
    const char *socket;
    const char *name;      /* shown to operators; NULL: the program's name */
    int64_t connect_limit; /* how long to keep trying while no daemon is there, or it hangs up */
    int64_t
        reply_limit; /* how long the daemon may take, beyond the time that a call itself waits */
    int64_t reconnect_limit; /* how long a call waits for a daemon when the connection is lost */
} fastalloc_connect_options_t;

/* Tries for one second, waits thirty for a reply, and thirty for a daemon that went away. */
static inline fastalloc_connect_options_t fastalloc_connect_options_init(void)
{
    fastalloc_connect_options_t options = FASTALLOC_SIZED(fastalloc_connect_options_t);
    options.connect_limit = FASTALLOC_SECOND;
    options.reply_limit = 30 * FASTALLOC_SECOND;
    options.reconnect_limit = 30 * FASTALLOC_SECOND;
    return options;
}
#define FASTALLOC_CONNECT_OPTIONS_INIT fastalloc_connect_options_init()

/*
 * Connects to a daemon and begins a session. `options` may be NULL for the defaults.
 *
 * FASTALLOC_ERR_UNREACHABLE, FASTALLOC_ERR_SOCKET_PATH, FASTALLOC_ERR_PROTOCOL_MISMATCH,
 * FASTALLOC_ERR_LIMIT_EXCEEDED and FASTALLOC_ERR_QUOTA_EXCEEDED (sessions, in all and of a user),
 * FASTALLOC_ERR_INVALID_ARGUMENT, -ENOMEM, -EMFILE, ...
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int
fastalloc_connect(const fastalloc_connect_options_t *options, fastalloc_connection_t **connection,
                  fastalloc_error_t *error);

/*
 * Ends the session: closes its pools, after which everything it had allocated is free. Nothing
 * happens on NULL. No other thread may use the connection or its pools any more.
 */
FASTALLOC_PUBLIC void fastalloc_disconnect(fastalloc_connection_t *connection);

/* The session's number, as `fastallocctl sessions` shows it. */
FASTALLOC_PUBLIC uint64_t fastalloc_session(const fastalloc_connection_t *connection);

/*
 * How often the session was resumed on a new connection, since the daemon was started anew or cut
 * the old one. No system call.
 */
FASTALLOC_PUBLIC uint64_t fastalloc_resumed(const fastalloc_connection_t *connection);

/* ---- Pools ----------------------------------------------------------------------------------- */

enum fastalloc_access {
    FASTALLOC_WRITE = 0, /* allocate, free, read and write objects */
    FASTALLOC_READ = 1,  /* follow handles and read; the mapping is read-only */
};

enum fastalloc_zero {
    FASTALLOC_ZERO_NEVER = 0,       /* objects begin with what their slots held last */
    FASTALLOC_ZERO_ON_ALLOCATE = 1, /* objects begin as zero bytes, behind the template */
    FASTALLOC_ZERO_ON_FREE = 2,     /* what an object held is overwritten when it is freed */
};

/*
 * Who allocates and frees.
 *
 * In a *brokered* pool the daemon: each call is a request, 10 to 50 microseconds.
 *
 * In a *leased* pool each member by itself, in nanoseconds: the daemon grants its threads slots
 * ahead of need, which they keep in caches, allocate from and free into, all in shared memory. The
 * daemon is asked for more slots, for what is to be waited for, and to adopt, detach, retain and
 * release. What other kinds of pools promise holds here too: a request fails only if all slots are
 * allocated (or reserved, or beyond a quota), since it gets what others have cached; requests wait in
 * turn; and what a process held or had cached when it died is free again. Differences:
 *
 *   Trust.    Members that opened the pool for writing can change the words that say what is
 *             allocated. A faulty one can free or damage objects of others in this pool, or write
 *             into slots that aren't its own. It can't harm other pools, nor the daemon, which takes
 *             damaged slots out of use and says so (fastalloc_pool_info_t, event "damaged").
 *   Batches.  What fastalloc_free_many(), fastalloc_retain() and their like do they do to all handles
 *             or none, unless another thread or process frees or retains one of them at the same time:
 *             then it is done to the rest, and the error says which handle was too late.
 *   Figures.  Statistics, usage and events are as of the last time that the daemon looked at all
 *             slots: when it is asked for them by name (of more than 4096 slots not again within
 *             128 ns for each of them), when a request finds no room, and by itself every second
 *             while they change, else after 2, 4, ... 64 seconds. Totals are exact then; usage and
 *             peak are those that it saw, and how long something was held is the time between the
 *             looks that saw it.
 *   Charges.  Cached slots count against session_slots and user_slots, and are given up before these
 *             refuse anything.
 *   Threads.  Each has a cache of its own in each pool, 40 KiB of memory at most. The slots in it are
 *             given back when the thread ends; the next thread takes it over. A thread whose objects
 *             no other thread or process has ever freed is about twice as fast, in up to 256 threads
 *             of a pool, where the kernel has membarrier(2).
 *   Fork.     As ever: a child finds its parent's pools closed.
 *   Not here: evictable objects. With FASTALLOC_ZERO_ON_FREE each free is a request.
 */
enum fastalloc_kind {
    FASTALLOC_BROKERED = 1,
    FASTALLOC_LEASED = 2,
};

/*
 * How to open a pool, and what it is, or is to be if it is made. What is 0, NULL or false isn't
 * asked for: a pool that exists may be anything there, one that is made gets the default. Slots
 * count capacities, reserves and quotas; times are ns.
 */
typedef struct fastalloc_open_options {
    size_t size;
    int32_t access;       /* enum fastalloc_access */
    bool create;          /* make the pool, of what follows, if there is none of that name */
    uint64_t object_size; /* bytes; needed to create */
    uint32_t alignment;   /* a power of two up to 4096; default 16 */
    const char *type;     /* what the objects are; default none */

    /*
     * Who may do what, as with a file: r = open for reading, w = allocate and free, x = administer
     * (grow, trim, destroy), which the owner always may. Default 0600.
     */
    uint32_t mode;
    gid_t gid;        /* the group, one of the caller's; default its primary one */
    bool owner_frees; /* only who holds an object may free it; default anyone who may write */

    /*
     * The pool grows when it has no room: by "linear:SLOTS", "exponential:FACTOR" or
     * "custom:SLOTS,SLOTS,..." (to the next of these capacities). Default "none". It needs a
     * capacity_max, to which a last step is cut; fastalloc_pool_grow() raises that. With "none"
     * nothing but fastalloc_pool_grow() makes it grow, to capacity_max or a higher one.
     */
    uint64_t capacity; /* needed to create */
    uint64_t capacity_max;
    const char *growth;
    uint64_t grow_ahead; /* grow already when fewer than these are free */

    uint64_t reserve_critical; /* free slots that only critical requests get */
    uint64_t reserve_normal;   /* and those, beside them, that best-effort requests don't */
    uint64_t session_slots;    /* that one session may hold; default all */
    uint64_t user_slots;       /* that all sessions of one user may hold; default all */

    int32_t zero;               /* enum fastalloc_zero */
    const void *template_bytes; /* what each object begins with; copied by the call */
    size_t template_size;       /* bytes; at most object_size and 32768 */

    /*
     * Warn, in the log and by an event, when usage comes to "90%" of the capacity (of the maximum,
     * if the pool grows), or when fewer than "10" slots are left; "off". Default "90%".
     */
    const char *watermark;
    uint64_t hold_limit; /* tell of objects that are held for longer; default none */
    uint64_t trim_after; /* give free memory back after so long without change */

    /*
     * What each process that opens the pool does with the memory of the objects that there are
     * then; if its machine refuses, it doesn't open the pool.
     */
    bool prefault; /* has the pages mapped before the first access (Linux 5.14) */
    bool lock;     /* locks them in memory, as mlock(2) does */
    bool huge;     /* asks for huge pages, which it may get or not */

    int32_t kind; /* enum fastalloc_kind; a pool that is made is brokered by default */
} fastalloc_open_options_t;

#define FASTALLOC_OPEN_OPTIONS_INIT FASTALLOC_SIZED(fastalloc_open_options_t)

/*
 * Opens a pool and maps it. `options` may be NULL: an existing pool, for writing, whatever it
 * holds. A pool that the connection has open already (with the same access) is opened once more:
 * the same pointer, to be closed as often.
 *
 * FASTALLOC_ERR_NO_SUCH_POOL, FASTALLOC_ERR_NOT_PERMITTED, FASTALLOC_ERR_OBJECT_SIZE_MISMATCH,
 * FASTALLOC_ERR_ALIGNMENT_MISMATCH, FASTALLOC_ERR_TYPE_MISMATCH, FASTALLOC_ERR_CONFIG_MISMATCH,
 * FASTALLOC_ERR_POOL_DESTROYED (meanwhile); to create: FASTALLOC_ERR_INVALID_CAPACITY,
 * FASTALLOC_ERR_INVALID_ALIGNMENT, FASTALLOC_ERR_INVALID_OBJECT_SIZE,
 * FASTALLOC_ERR_INVALID_ARGUMENT [field], FASTALLOC_ERR_SHARED_MEMORY_FULL,
 * FASTALLOC_ERR_QUOTA_EXCEEDED, FASTALLOC_ERR_LIMIT_EXCEEDED. When the machine refuses to
 * prefault, lock or advise: -ENOMEM, -EPERM, -EINVAL, ... A pool that was made by then exists.
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_open(fastalloc_connection_t *connection,
                                                         const char *name,
                                                         const fastalloc_open_options_t *options,
                                                         fastalloc_pool_t **pool,
                                                         fastalloc_error_t *error);

/*
 * Unmaps the pool. What this session still has allocated in it is freed, unless it has the pool
 * open with the other access too: then at that close. Nothing happens on NULL. No other thread may
 * use the pool any more. A daemon that doesn't answer is waited for for a second; then it is freed when
 * that goes on, or, if it couldn't be told, when this connection next asks one for anything, or ends.
 */
FASTALLOC_PUBLIC void fastalloc_close(fastalloc_pool_t *pool);

/* What the pool is; constant while it is open, but for the capacity of a pool that grows. */
FASTALLOC_PUBLIC const char *fastalloc_pool_name(const fastalloc_pool_t *pool);
FASTALLOC_PUBLIC const char *fastalloc_pool_type(const fastalloc_pool_t *pool);
FASTALLOC_PUBLIC uint64_t fastalloc_pool_object_size(const fastalloc_pool_t *pool);
FASTALLOC_PUBLIC uint64_t fastalloc_pool_stride(const fastalloc_pool_t *pool);
FASTALLOC_PUBLIC uint64_t fastalloc_pool_capacity(const fastalloc_pool_t *pool);

/* ---- Objects --------------------------------------------------------------------------------- */

/*
 * Allocates one object, or `count` of them, all or none. When the pool has no room it grows, if it
 * may, else the call waits, in the daemon's queue and in turn, for as long as `timeout` says. A
 * growth that is under way is waited for with FASTALLOC_NOWAIT too, for 50 ms; a quota isn't waited for with
 * any timeout: what would exceed it is refused at once.
 *
 * FASTALLOC_ERR_POOL_EXHAUSTED (FASTALLOC_NOWAIT, or more than the pool ever has),
 * FASTALLOC_ERR_MAX_CAPACITY_EXCEEDED (instead, from a pool that grows), FASTALLOC_ERR_TIMEOUT,
 * FASTALLOC_ERR_SHARED_MEMORY_FULL (it couldn't grow, or have trimmed memory again),
 * FASTALLOC_ERR_QUOTA_EXCEEDED, FASTALLOC_ERR_CANCELLED, FASTALLOC_ERR_POOL_DESTROYED,
 * FASTALLOC_ERR_NOT_A_MEMBER, FASTALLOC_ERR_LIMIT_EXCEEDED (count, or requests that wait),
 * FASTALLOC_ERR_INVALID_ARGUMENT (a count of 0).
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_allocate(fastalloc_pool_t *pool,
                                                             int64_t timeout,
                                                             fastalloc_handle_t *handle,
                                                             fastalloc_error_t *error);
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_allocate_many(fastalloc_pool_t *pool,
                                                                  size_t count, int64_t timeout,
                                                                  fastalloc_handle_t *handles,
                                                                  fastalloc_error_t *error);

/*
 * The same, with all there is to say. Requests wait in the order of their priority, then of their
 * age; none is overtaken by one that came later and is of the same or a lower priority, however few
 * it asks for.
 */
enum fastalloc_priority {
    FASTALLOC_NORMAL = 0,
    FASTALLOC_CRITICAL = 1,    /* also gets the slots in reserve, and those of evictable objects */
    FASTALLOC_BEST_EFFORT = 2, /* leaves both reserves alone */
};

typedef struct fastalloc_allocate_options {
    size_t size;
    size_t count;     /* objects; 0 = 1 */
    int64_t timeout;  /* FASTALLOC_NOWAIT */
    int32_t priority; /* enum fastalloc_priority */
    /*
     * The objects may be freed, the oldest first, when a critical request needs their slots: their
     * handles are stale then, as after any free. Adopting or retaining one ends that. Not in leased
     * pools: FASTALLOC_ERR_INVALID_ARGUMENT.
     */
    bool evictable;
} fastalloc_allocate_options_t;

#define FASTALLOC_ALLOCATE_OPTIONS_INIT FASTALLOC_SIZED(fastalloc_allocate_options_t)

/*
 * `options` may be NULL for the defaults: one object, at once. Errors as above, and
 * FASTALLOC_ERR_INVALID_ARGUMENT (priority).
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int
fastalloc_allocate_with(fastalloc_pool_t *pool, const fastalloc_allocate_options_t *options,
                        fastalloc_handle_t *handles, fastalloc_error_t *error);

/*
 * Ends the waits of all threads of this connection for slots of this pool: their calls fail with
 * FASTALLOC_ERR_CANCELLED. Calls that begin later, or whose request isn't with the daemon yet,
 * aren't concerned. FASTALLOC_ERR_POOL_DESTROYED.
 */
FASTALLOC_PUBLIC int fastalloc_cancel(fastalloc_pool_t *pool, fastalloc_error_t *error);

/* Allocates one object if that can be done at once: fastalloc_allocate() with FASTALLOC_NOWAIT. */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_try_allocate(fastalloc_pool_t *pool,
                                                                 fastalloc_handle_t *handle,
                                                                 fastalloc_error_t *error);

/*
 * Frees one object, or `count` of them, all or none; by any member with write access, not only the
 * one that holds it, unless the pool was made with owner_frees. Afterwards every copy of the handle
 * is stale, in every process.
 *
 * FASTALLOC_ERR_STALE_HANDLE, FASTALLOC_ERR_WRONG_POOL, FASTALLOC_ERR_DUPLICATE_HANDLE,
 * FASTALLOC_ERR_OBJECT_SHARED, FASTALLOC_ERR_NOT_HOLDER, FASTALLOC_ERR_NOT_A_MEMBER,
 * FASTALLOC_ERR_POOL_DESTROYED, FASTALLOC_ERR_LIMIT_EXCEEDED (count),
 * FASTALLOC_ERR_INVALID_ARGUMENT (a count of 0).
 */
FASTALLOC_PUBLIC int fastalloc_free(fastalloc_pool_t *pool, fastalloc_handle_t handle,
                                    fastalloc_error_t *error);
FASTALLOC_PUBLIC int fastalloc_free_many(fastalloc_pool_t *pool, const fastalloc_handle_t *handles,
                                         size_t count, fastalloc_error_t *error);

/*
 * Who holds an object. At first that is the session which allocated it: when that ends, however it
 * does, the object is freed. These pass it on; `count` handles, all or none. Each call is a request
 * to the daemon, in leased pools too.
 *
 * adopt    The caller holds it instead of the one who did; so a consumer takes over what a producer
 *          made. With owner_frees the other has to detach it first.
 * detach   The pool itself holds it, and it outlives its session, until somebody adopts or frees
 *          it (with owner_frees: adopts). Not in pools with quotas.
 * retain   The caller holds it as well as whoever does. It stays until the last hold is given up,
 *          by fastalloc_release() or by the end of its session, and nobody else can free it
 *          meanwhile. A session whose holds are all there are can, with fastalloc_free().
 * release  Gives up one hold of the caller's own; one that it retained twice is to be released
 *          twice. The last one frees the object.
 *
 * FASTALLOC_ERR_STALE_HANDLE, FASTALLOC_ERR_WRONG_POOL, FASTALLOC_ERR_DUPLICATE_HANDLE,
 * FASTALLOC_ERR_OBJECT_SHARED (adopt, detach: others hold it too), FASTALLOC_ERR_NOT_HOLDER,
 * FASTALLOC_ERR_NOT_PERMITTED (detach), FASTALLOC_ERR_QUOTA_EXCEEDED (adopt, retain),
 * FASTALLOC_ERR_SHARED_MEMORY_FULL and FASTALLOC_ERR_LIMIT_EXCEEDED (retain),
 * FASTALLOC_ERR_NOT_A_MEMBER, FASTALLOC_ERR_POOL_DESTROYED, FASTALLOC_ERR_INVALID_ARGUMENT (a
 * count of 0).
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_adopt(fastalloc_pool_t *pool,
                                                          const fastalloc_handle_t *handles,
                                                          size_t count, fastalloc_error_t *error);
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_detach(fastalloc_pool_t *pool,
                                                           const fastalloc_handle_t *handles,
                                                           size_t count, fastalloc_error_t *error);
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_retain(fastalloc_pool_t *pool,
                                                           const fastalloc_handle_t *handles,
                                                           size_t count, fastalloc_error_t *error);
FASTALLOC_PUBLIC int fastalloc_release(fastalloc_pool_t *pool, const fastalloc_handle_t *handles,
                                       size_t count, fastalloc_error_t *error);

/*
 * The object, or NULL if the handle is stale or of another pool. Wait-free, no system call. Where
 * it counts, take the view once and use the inline fastalloc_view_get() and
 * fastalloc_view_still_valid().
 */
FASTALLOC_PUBLIC void *fastalloc_get(const fastalloc_pool_t *pool, fastalloc_handle_t handle);
FASTALLOC_PUBLIC bool fastalloc_still_valid(const fastalloc_pool_t *pool,
                                            fastalloc_handle_t handle);
FASTALLOC_PUBLIC const fastalloc_view_t *fastalloc_pool_view(const fastalloc_pool_t *pool);

/*
 * The text form of a handle, for shells and logs: "pool:index:tag", and back (-EINVAL if it isn't
 * one).
 */
FASTALLOC_PUBLIC void fastalloc_handle_format(fastalloc_handle_t handle,
                                              char text[FASTALLOC_HANDLE_TEXT_SIZE]);
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_handle_parse(const char *text,
                                                                 fastalloc_handle_t *handle);

/* ---- Statistics ------------------------------------------------------------------------------ */

/*
 * Numbers of slots, or of requests where it says so, since the pool was made or its statistics were
 * reset, `age` ns ago; times in ns. Percentiles are exact to a quarter.
 */
typedef struct fastalloc_statistics { /* C++ has it apart from fastalloc_stats() */
    size_t size;
    uint64_t capacity;
    uint64_t current_usage; /* allocated now */
    uint64_t available;     /* capacity - current_usage, what is cached included */
    uint64_t peak_usage;
    double average_usage; /* weighted by time */
    uint64_t total_allocations;
    uint64_t total_deallocations;
    uint64_t allocation_failures; /* requests that were refused: exhausted or timed out */
    uint64_t growth_count;
    uint64_t timeouts;    /* of these, timed out */
    uint64_t reclaimed;   /* slots freed because their session ended */
    uint64_t evictions;   /* slots freed for critical requests */
    uint64_t watermarks;  /* times that usage came to the watermark */
    uint64_t waiters;     /* requests waiting now */
    uint64_t total_waits; /* requests that ever had to */
    uint64_t wait_p50;    /* how long those waited that are over */
    uint64_t wait_p99;
    uint64_t wait_max;
    uint64_t held_long;       /* objects now held for longer than the pool's hold_limit */
    uint64_t total_held_long; /* that ever were */
    uint64_t hold_p50;        /* how long objects were held until they were freed or handed on */
    uint64_t hold_p99;
    uint64_t hold_max;
    uint64_t age;
    uint64_t cached; /* granted to members' caches, not allocated; 0 from fastalloc_stats() */
} fastalloc_stats_t;

#define FASTALLOC_STATS_INIT FASTALLOC_SIZED(fastalloc_stats_t)

/* Allocated share of the capacity, 0 to 1. */
static inline double fastalloc_stats_utilization_rate(const fastalloc_stats_t *stats)
{
    return stats->capacity ? (double)stats->current_usage / (double)stats->capacity : 0.0;
}

/* Of the slots that were allocated and the requests that were refused, the share of the slots. */
static inline double fastalloc_stats_hit_rate(const fastalloc_stats_t *stats)
{
    double asked = (double)stats->total_allocations + (double)stats->allocation_failures;
    return asked > 0 ? (double)stats->total_allocations / asked : 1.0;
}

/*
 * The statistics of an open pool, read where they stand, without a round trip; all of one moment,
 * but for the capacity, which may have grown since. Of a leased pool they are as of the last time
 * that the daemon looked: up to a second ago, or longer after a quiet time (enum fastalloc_kind).
 * fastalloc_pool_stats() has it look.
 *
 * -EAGAIN if the daemon died while it changed them, or changes them all the time,
 * FASTALLOC_ERR_POOL_DESTROYED.
 */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int
fastalloc_stats(const fastalloc_pool_t *pool, fastalloc_stats_t *stats, fastalloc_error_t *error);

/*
 * For development: says on stderr when fewer than `least` slots of an open pool are left, and
 * aborts if asked to. In a leased pool each is a request to the daemon, which has a look; elsewhere
 * it is read where it stands. With NDEBUG neither does anything.
 */
#ifdef NDEBUG
#define FASTALLOC_WARN_UNLESS_LEFT(pool, least) ((void)0)
#define FASTALLOC_ASSERT_LEFT(pool, least) ((void)0)
#else
#define FASTALLOC_WARN_UNLESS_LEFT(pool, least)                                                    \
    fastalloc_check_left((pool), (least), false, __FILE__, __LINE__)
#define FASTALLOC_ASSERT_LEFT(pool, least)                                                         \
    fastalloc_check_left((pool), (least), true, __FILE__, __LINE__)
#endif
FASTALLOC_PUBLIC void fastalloc_check_left(const fastalloc_pool_t *pool, uint64_t least,
                                           bool aborts, const char *file, int line);

/* The pool's statistics, by its name; it needn't be open. FASTALLOC_ERR_NO_SUCH_POOL. */
FASTALLOC_PUBLIC FASTALLOC_MUST_CHECK int fastalloc_pool_stats(fastalloc_connection_t *connection,
                                                               const char *name,
                                                               fastalloc_stats_t *stats,
                                                               fastalloc_error_t *error);

#ifdef __cplusplus
}
#endif

#endif
