/* SPDX-License-Identifier: MIT */
/*
 * Shared memory as x86 has it (total store order). SPIN by itself is sequentially consistent, so each
 * process has a store buffer here: plain stores wait in it, in order, and reach memory whenever `world`
 * lets them. Loads look there first. Compare-and-swap, other locked instructions and fences wait until
 * the own buffer is empty. It empties itself also when its process was killed.
 */

/* Addresses. One block of two slots, so one hint bit. */
#define WORD(s) (s)
#define LEDGER(s) (2 + (s))
#define HINT 4
#define WAITERS 5
#define NUMBER 6 /* the last number of `waiters`, which is 0 while the pool is roomy */
#define INTENT 7 /* index, from and to */
#define KIND 8
#define ANNOUNCED(t) (8 + (t)) /* by the thread, and */
#define REVOKED(t) (11 + (t))  /* whether it is revoked */
#define ADDRESSES 15

/* Processes: the daemon, then threads, of which the correct ones store plainly only what is theirs. */
#define DAEMON 0
#define THREADS 3
#define ROOM(p) ((p) == DAEMON -> 6 : THREAD_ROOM)
#define BASE(p) ((p) == DAEMON -> 0 : 6 + ((p) - 1) * THREAD_ROOM)

byte mem[ADDRESSES];
byte length[THREADS + 1];
byte store_at[6 + THREADS * THREAD_ROOM];
byte store_of[6 + THREADS * THREAD_ROOM];

#define HOLDS(p, i, a) (length[p] > (i) && store_at[BASE(p) + (i)] == (a))
#define HELD(p, i) store_of[BASE(p) + (i)]

/* The daemon's load, and a thread's. The daemon stores no slot word plainly: they are mem[WORD(s)]. */
#define LOAD_UP_TO_1(p, a) (HOLDS(p, 0, a) -> HELD(p, 0) : mem[a])
#define LOAD_UP_TO_4(p, a)                                                                             \
    (HOLDS(p, 3, a) -> HELD(p, 3) :                                                                    \
    (HOLDS(p, 2, a) -> HELD(p, 2) : (HOLDS(p, 1, a) -> HELD(p, 1) : LOAD_UP_TO_1(p, a))))
#define LOAD_UP_TO_6(p, a)                                                                             \
    (HOLDS(p, 5, a) -> HELD(p, 5) : (HOLDS(p, 4, a) -> HELD(p, 4) : LOAD_UP_TO_4(p, a)))
#define LOAD(a) LOAD_UP_TO_6(DAEMON, a)

#define HOLDS_UP_TO_1(p, a) HOLDS(p, 0, a)
#define HOLDS_UP_TO_4(p, a) (HOLDS(p, 0, a) || HOLDS(p, 1, a) || HOLDS(p, 2, a) || HOLDS(p, 3, a))
#define HOLDS_UP_TO_6(p, a) (HOLDS_UP_TO_4(p, a) || HOLDS(p, 4, a) || HOLDS(p, 5, a))

#if THREAD_ROOM == 1
#define LOAD_BY(t, a) LOAD_UP_TO_1(t, a)
#define HOLDS_ANY(t, a) HOLDS_UP_TO_1(t, a)
#elif THREAD_ROOM == 4
#define LOAD_BY(t, a) LOAD_UP_TO_4(t, a)
#define HOLDS_ANY(t, a) HOLDS_UP_TO_4(t, a)
#elif THREAD_ROOM == 6
#define LOAD_BY(t, a) LOAD_UP_TO_6(t, a)
#define HOLDS_ANY(t, a) HOLDS_UP_TO_6(t, a)
#endif

#define DRAINED(p) (length[p] == 0)

inline store(p, a, v)
{
    assert(length[p] < ROOM(p)); /* or else more room would show more */
    store_at[BASE(p) + length[p]] = a;
    store_of[BASE(p) + length[p]] = v;
    length[p]++;
}

/* The oldest store reaches memory. `i` is the caller's. */
inline flush(p)
{
    mem[store_at[BASE(p)]] = store_of[BASE(p)];
    length[p]--;
    i = 0;
    do
    :: i < length[p] ->
        store_at[BASE(p) + i] = store_at[BASE(p) + i + 1];
        store_of[BASE(p) + i] = store_of[BASE(p) + i + 1];
        i++
    :: else -> break
    od;
    store_at[BASE(p) + length[p]] = 0;
    store_of[BASE(p) + length[p]] = 0;
    i = 0
}
