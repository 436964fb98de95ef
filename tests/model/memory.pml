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
#define ADDRESSES 9

/* Processes: the daemon, then threads. No correct thread stores plainly, so theirs are short. */
#define DAEMON 0
#define THREADS 3
#define ROOM(p) ((p) == DAEMON -> 6 : 1)
#define BASE(p) ((p) == DAEMON -> 0 : 5 + (p))

byte mem[ADDRESSES];
byte length[THREADS + 1];
byte store_at[6 + THREADS];
byte store_of[6 + THREADS];

#define HOLDS(p, i, a) (length[p] > (i) && store_at[BASE(p) + (i)] == (a))
#define HELD(p, i) store_of[BASE(p) + (i)]

/* The daemon's load, and a thread's. Nobody stores slot words plainly: they are mem[WORD(s)]. */
#define LOAD(a)                                                                                        \
    (HOLDS(DAEMON, 5, a) -> HELD(DAEMON, 5) :                                                          \
    (HOLDS(DAEMON, 4, a) -> HELD(DAEMON, 4) :                                                          \
    (HOLDS(DAEMON, 3, a) -> HELD(DAEMON, 3) :                                                          \
    (HOLDS(DAEMON, 2, a) -> HELD(DAEMON, 2) :                                                          \
    (HOLDS(DAEMON, 1, a) -> HELD(DAEMON, 1) :                                                          \
    (HOLDS(DAEMON, 0, a) -> HELD(DAEMON, 0) : mem[a]))))))
#define LOAD_BY(t, a) (HOLDS(t, 0, a) -> HELD(t, 0) : mem[a])

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
