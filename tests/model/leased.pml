/* SPDX-License-Identifier: MIT */
/*
 * Leased pools (docs/decisions/0015-leased-pools.md): a daemon, two members with up to three threads,
 * two slots; and biased threads (docs/decisions/0016-biased-threads.md). README.md says how this
 * corresponds to the C code, and what is seeded by BUG_*.
 *
 * Each `atomic` has at most one access of shared memory that others could see. Between any two of
 * them everything may happen: other processes' steps, stores reaching memory, deaths.
 */

/* ---- Slot words and ledger entries, as in shm/slot.h and shm/layout.h, in fewer bits ------------- */

#define IDLE 0
#define CACHED 1
#define LIVE 2
#define RETURNED 3

/*
 * Numbers: 0 is nobody's, 1 and 2 are the processes' own, which requests and transfers give, and POOL
 * is of what was detached; a thread that has one has 4 more than its own. The ledger has processes.
 */
#define POOL 3
#define THREAD_NUMBER(t) (4 | (t))
#define IS_THREAD(number) ((number) & 4)
#define THREAD(number) ((number) & 3)
#define PROCESS(number) (IS_THREAD(number) -> THREAD_OF(THREAD(number)) : (number))

#define SLOT(generation, number, state) ((generation) << 5 | (number) << 2 | (state))
#define GENERATION(word) ((word) >> 5)
#define NUMBER_IN(word) ((word) >> 2 & 7)
#define STATE(word) ((word) & 3)
#define IS_FREE(word) (STATE(word) == CACHED || STATE(word) == RETURNED)

/*
 * Of the number of the request it only matters whether that request has an answer, so here it is 1
 * until then, and 0 after.
 */
#define ENTRY(request, member) ((request) << 2 | (member))
#define HOLDER(entry) ((entry) & 3)

#define BIT(s) (1 << (s))

#include "scenarios.pml"
#include "memory.pml"

/* ---- Biased threads' lines, as in shm/bias.h ----------------------------------------------------- */

#define TAKES 1
#define GIVES 2
#ifdef BUG_ANNOUNCED_WITHOUT_GENERATION
#define ANNOUNCEMENT(generation, s, what) ((s) << 2 | (what))
#else
#define ANNOUNCEMENT(generation, s, what) ((generation) << 3 | (s) << 2 | (what))
#endif

/* By whom a thread is revoked. */
#define BY_DAEMON 1
#define BY_MEMBER 2
#define SETTLED 4

#define HAS_NUMBER(t) ((NUMBERED) & BIT(t))

/* The number of the slots that it caches: without one of its own it is its process's. */
#ifdef BUG_NUMBER_OF_PROCESS
#define OWN(t) THREAD_OF(t)
#else
#define OWN(t) (HAS_NUMBER(t) -> THREAD_NUMBER(t) : THREAD_OF(t))
#endif

/* Whose cache it uses, and whose number slots are granted ahead under: as above. */
#define CACHE(t) (HAS_NUMBER(t) -> (t) : THREAD_OF(t))
#define GRANTEE_OF(m) (HAS_NUMBER(GRANTEE(m)) -> OWN(GRANTEE(m)) : (m))
#define CACHE_IS_OF(c, m) ((HAS_NUMBER(c) -> THREAD_OF(c) : (c)) == (m))

/* All threads have passed a barrier. It waits for one after the other. */
inline barrier()
{
    DRAINED(1);
    DRAINED(2);
    DRAINED(3)
}

/* ---- Between the processes, besides shared memory ------------------------------------------------ */

/* Requests on the socket; who waits, waits for `reply`. */
#define REFUSED 9
byte req[3];       /* ASKS, WAITS or WAITS_SHORTLY */
bool taken[3];     /* the daemon has read it */
byte reply[3];     /* REFUSED, or slot + 1 and the slots granted ahead << 4 */
bool nudge[3];     /* the session's eventfd */
bool connected[3];
bool killed[4];    /* the process is dead */
bool stopped[4];   /* SIGSTOP, for ever */
bool ended[4];     /* the daemon has ended its session */

/* Members' own memory. */
byte guess[4];     /* the slots in the cache: what may be CACHED */
byte told[3];      /* the number that the daemon was told about */

/* The daemon's own memory: gone with it. */
bool waits[3];
bool look_at_all;  /* the next harvest has to be a full one */
byte seen[2];      /* each slot's word, when it looked last */
byte biased;       /* the threads that it hasn't revoked since it granted them slots */
bool idle;         /* it waits for events */

bool daemon_killed; /* and hasn't started again */

/* ---- What is only there to be checked ------------------------------------------------------------ */

bool alive[2];   /* somebody has a handle of an object that isn't freed */
byte fresh[2];   /* the first generation of which no handle was ever given out */
byte freeing[4]; /* slot + 1 that the thread is in the middle of freeing, recovering or returning */
bool busy[4];    /* the thread is in the middle of something */
byte since[3];   /* slots that have been free ever since the member's request began */
byte amid[4];    /* what the thread has announced, and hasn't done or given up */

/*
 * A free that isn't over doesn't count, except that a slot is had once the bit stands: until then
 * only the thread knows. Nor does one that is being recovered, or returned as its thread's cache ends.
 * A dead thread's is over when the daemon has ended its session. Nor does a slot count that a thread is
 * in the middle of taking by a plain store.
 */
#define IN_FREE(s) (freeing[1] == (s) + 1 || freeing[2] == (s) + 1 || freeing[3] == (s) + 1)
#define IN_TAKE(s)                                                                                     \
    (STATE(mem[WORD(s)]) == CACHED && IS_THREAD(NUMBER_IN(mem[WORD(s)])) &&                            \
     amid[THREAD(NUMBER_IN(mem[WORD(s)]))] == ANNOUNCEMENT(GENERATION(mem[WORD(s)]), s, TAKES))
#define IS_AVAILABLE(s)                                                                                \
    (STATE(mem[WORD(s)]) == IDLE || STATE(mem[WORD(s)]) == RETURNED && mem[HINT] ||                    \
     IS_FREE(mem[WORD(s)]) && !IN_FREE(s) && !IN_TAKE(s) && !alive[s])
#define AVAILABLE (IS_AVAILABLE(0) | IS_AVAILABLE(1) << 1)

/* What still may happen. */
byte daemon_deaths = DAEMON_DEATHS;
byte transfers = TRANSFERS;
byte losses = LOSSES;

/* A slot isn't free any more: it is LIVE, or a thread recovers it. */
inline made_busy(s)
{
    assert(!alive[s]);
    since[1] = since[1] & ~BIT(s);
    since[2] = since[2] & ~BIT(s)
}

/*
 * Who got the handle from another thread sees at least what that one stored before it. The daemon asks
 * for itself with 0.
 */
#define KNOWS(t, s)                                                                                    \
    (alive[s] && ((t) == 1 || !HOLDS_ANY(1, WORD(s))) && ((t) == 2 || !HOLDS_ANY(2, WORD(s))) &&       \
     ((t) == 3 || !HOLDS_ANY(3, WORD(s))))

/* The handle's object was freed. */
#define IS_STALE(s, generation) (!(alive[s] && fresh[s] == (generation) + 1))

/* The thread is in the middle of freeing it, or was when it was killed. */
#define IS_GIVEN(t, s, generation)                                                                     \
    (amid[t] == ANNOUNCEMENT(generation, s, GIVES) || killed[THREAD_OF(t)])

/* Somebody gets the handle: the first and only one with this generation. */
inline got_handle(s, generation)
{
    assert(!alive[s] && (generation) >= fresh[s]);
    alive[s] = true;
    fresh[s] = (generation) + 1
}

/* ---- Members ------------------------------------------------------------------------------------- */

/* The request of the slot's entry is one that has an answer. */
inline answered(n, m)
{
    mem[LEDGER(n)] = (mem[LEDGER(n)] == ENTRY(1, m) -> ENTRY(0, m) : mem[LEDGER(n)])
}

inline nothing_more(t)
{
    freeing[t] = 0;
    amid[t] = 0;
    busy[t] = false;
    s = 0; g = 0; w = 0; x = 0; round = 0
}

/* From now on others may see what the thread is about to do. */
inline announce(t, what)
{
    atomic {
        amid[t] = what;
        store(t, ANNOUNCED(t), amid[t])
    }
}

/* The one object of this generation. */
inline freed(t)
{
    assert(alive[s] && fresh[s] == g + 1);
    assert(g < 7); /* what a word of this model holds */
    alive[s] = false;
    amid[t] = 0;
    freeing[t] = s + 1
}

/* The next slot of a round. */
inline next_slot(t)
{
    freeing[t] = 0;
    w = 0; x = 0;
    s++;
    goto block
}

/* This slot is done with. */
inline settled(t)
{
    if
    :: round == 0 -> nothing_more(t); goto next
    :: else -> next_slot(t)
    fi
}

#ifdef BUG_RECOVERED_BLINDLY
#define ROOMY_FOR(t) true
#else
#define ROOMY_FOR(t) (LOAD_BY(t, WAITERS) == 0)
#endif

/* Rounds over a block's slots. */
#define RECOVERING 1
#define ENDING 2

proctype thread(byte t; byte m; byte ops; byte can)
{
    byte s, g, w, x;
    byte round;
next:
    {
    if
    /* allocate: a guess; the word decides (lease_take, take_one) */
    :: atomic {
        (can & ALLOCATES) && ops > 0 && guess[CACHE(t)] != 0 ->
        ops--;
        if
        :: guess[CACHE(t)] & BIT(0) -> s = 0
        :: guess[CACHE(t)] & BIT(1) -> s = 1
        fi;
        guess[CACHE(t)] = guess[CACHE(t)] & ~BIT(s);
        w = LOAD_BY(t, WORD(s));
        if
        :: STATE(w) == CACHED && NUMBER_IN(w) == OWN(t) -> busy[t] = true
        :: else -> nothing_more(t); goto next
        fi;
        if
        :: HAS_NUMBER(t)
        :: else -> goto take
        fi
    };
    /* Plainly: it is announced, then the thread looks whether it is revoked, then at the word again */
#ifdef BUG_ANNOUNCED_LATE
    atomic { x = LOAD_BY(t, REVOKED(t)) };
#endif
    announce(t, ANNOUNCEMENT(GENERATION(w), s, TAKES));
    atomic {
#ifndef BUG_ANNOUNCED_LATE
        x = LOAD_BY(t, REVOKED(t));
#endif
        if
        :: x == 0
        :: else -> goto withdraw
        fi
    }
#ifndef BUG_WORD_SEEN_ONCE
    atomic {
        if
        :: LOAD_BY(t, WORD(s)) == w
        :: else -> goto withdraw
        fi
    }
#endif
    atomic {
        made_busy(s);
        got_handle(s, GENERATION(w));
        w = SLOT(GENERATION(w), OWN(t), LIVE);
        store(t, WORD(s), w);
        nothing_more(t);
        goto next
    }
    /* Not so: nobody is to go by what was announced. Only then does it look once more. */
withdraw:
#if !defined(BUG_NOT_WITHDRAWN) && !defined(BUG_WITHDRAWN_LATE)
    atomic { store(t, ANNOUNCED(t), 0) }
#endif
#ifndef BUG_WITHDRAWN_LATE
    atomic {
        if
        :: LOAD_BY(t, WORD(s)) == w
        :: else -> nothing_more(t); goto next
        fi
    }
#endif
    /* By compare-and-swap */
take:
    atomic {
        DRAINED(t) ->
        if
        :: mem[WORD(s)] == w ->
            mem[WORD(s)] = SLOT(GENERATION(w), OWN(t), LIVE);
            made_busy(s);
            got_handle(s, GENERATION(w))
        :: else
        fi;
#ifndef BUG_WITHDRAWN_LATE
        nothing_more(t);
        goto next
#endif
    }
#ifdef BUG_WITHDRAWN_LATE
    atomic {
        if
        :: HAS_NUMBER(t) -> store(t, ANNOUNCED(t), 0)
        :: else
        fi;
        nothing_more(t);
        goto next
    }
#endif

    /* ask the daemon, and wait for the reply */
    :: atomic {
        (can & (ASKS | WAITS | WAITS_SHORTLY)) && ops > 0 && req[m] == 0 ->
        ops--;
        if
        :: can & ASKS -> req[m] = ASKS
        :: can & WAITS -> req[m] = WAITS
        :: can & WAITS_SHORTLY -> req[m] = WAITS_SHORTLY
        fi;
        since[m] = AVAILABLE
    }
    atomic {
        reply[m] != 0 ->
        if
        :: reply[m] == REFUSED
        :: else ->
            s = (reply[m] & 7) - 1;
            got_handle(s, GENERATION(mem[WORD(s)]));
            x = (HAS_NUMBER(GRANTEE(m)) -> GRANTEE(m) : m);
            guess[x] = guess[x] | reply[m] >> 4
        fi;
        reply[m] = 0;
        req[m] = 0;
        since[m] = 0;
        answered(0, m);
        answered(1, m);
        nothing_more(t);
        goto next
    }

    /* In a roomy pool a block that has a hint is looked at for what is RETURNED (recover) */
    :: atomic {
        (can & RECOVERS) && ops > 0 && ROOMY_FOR(t) ->
        ops--;
        busy[t] = true;
        round = RECOVERING
    }
    atomic {
        if
        :: LOAD_BY(t, HINT) != 0 -> goto block
        :: else -> nothing_more(t); goto next
        fi
    }

    /* a thread ends, and its cache (return_slots) */
    :: atomic {
        (can & ENDS) && ops > 0 && guess[CACHE(t)] != 0 ->
        ops--;
        busy[t] = true;
        round = ENDING
    }
    goto block;

    /* free, by whatever handle there is; others may free the same (lease_give, free_one) */
    :: atomic {
        (can & FREES) && ops > 0 && (KNOWS(t, 0) || KNOWS(t, 1)) ->
        ops--;
        busy[t] = true;
        if
        :: KNOWS(t, 0) -> s = 0
        :: KNOWS(t, 1) -> s = 1
        fi;
        g = fresh[s] - 1;
#ifdef BUG_LOAD_BEFORE_FREE
        x = LOAD_BY(t, WAITERS);
#endif
        if
        :: HAS_NUMBER(t)
        :: else -> goto again
        fi
    };
    /*
     * Plainly, in the same way. Who doesn't go on withdraws when it is done, if at all: others were told
     * by then that the handle is stale, and no word is LIVE at that generation again.
     */
#ifdef BUG_ANNOUNCED_LATE
    atomic { x = LOAD_BY(t, REVOKED(t)) };
#endif
    announce(t, ANNOUNCEMENT(g, s, GIVES));
    atomic {
#ifndef BUG_ANNOUNCED_LATE
        x = LOAD_BY(t, REVOKED(t));
#endif
        if
        :: x == 0
        :: else -> goto again
        fi
    }
    atomic {
        w = LOAD_BY(t, WORD(s));
        if
        :: w == SLOT(g, OWN(t), LIVE)
        :: else -> goto again
        fi
    }
    atomic {
        freed(t);
        w = SLOT(g + 1, OWN(t), CACHED);
        store(t, WORD(s), w)
    }
    /*
     * It looks at `revoked` again, in place of `waiters`. If it is revoked it has to load these after its
     * store is in memory: a daemon that revoked it before issues no barrier again.
     */
#ifndef BUG_REVOKED_SEEN_ONCE
    atomic {
        if
        :: LOAD_BY(t, REVOKED(t)) == 0
        :: else -> goto fence
        fi
    }
#endif
    atomic { guess[CACHE(t)] = guess[CACHE(t)] | BIT(s); nothing_more(t); goto next }
fence:
#ifndef BUG_NO_FENCE_AFTER_FREE
    atomic { DRAINED(t) -> skip }
#endif
    goto settle;

again: /* a change of hands is no reason to fail */
    atomic {
        w = LOAD_BY(t, WORD(s));
        if
        :: STATE(w) == LIVE && GENERATION(w) == g
        :: else -> /* stale, and it is */
            assert(IS_STALE(s, g));
            nothing_more(t);
            goto next
        fi;
        if
        :: IS_THREAD(NUMBER_IN(w)) && NUMBER_IN(w) != OWN(t)
        :: else -> goto change
        fi
    }
    /* Another thread's, which is revoked for ever; whose barrier that needs, doesn't matter */
    atomic {
        DRAINED(t) ->
        x = mem[REVOKED(THREAD(NUMBER_IN(w)))];
        mem[REVOKED(THREAD(NUMBER_IN(w)))] = x | BY_MEMBER;
        if
#ifdef BUG_MEMBER_IS_SETTLED
        :: x & BY_MEMBER -> goto look
#else
        :: x & SETTLED -> goto look
#endif
        :: else
        fi
    }
#ifndef BUG_FREE_WITHOUT_BARRIER
    atomic { barrier() }
#endif
    atomic { mem[REVOKED(THREAD(NUMBER_IN(w)))] = mem[REVOKED(THREAD(NUMBER_IN(w)))] | SETTLED }
look:
    atomic {
#ifndef BUG_FREE_IGNORES_ANNOUNCED
        if
        :: mem[ANNOUNCED(THREAD(NUMBER_IN(w)))] == ANNOUNCEMENT(g, s, GIVES) ->
            assert(IS_STALE(s, g) || IS_GIVEN(THREAD(NUMBER_IN(w)), s, g));
            nothing_more(t);
            goto next
        :: else
        fi;
#endif
        x = 0
    }
change:
    atomic {
        DRAINED(t) ->
        if
        :: mem[WORD(s)] == w
        :: else ->
#ifdef BUG_FREE_TRIED_ONCE
            assert(IS_STALE(s, g));
            nothing_more(t);
            goto next
#else
            goto again
#endif
        fi;
        freed(t);
#ifdef BUG_SAME_GENERATION
        w = (PROCESS(NUMBER_IN(w)) == m -> SLOT(g, OWN(t), CACHED) : SLOT(g, NUMBER_IN(w), RETURNED));
#else
        w = (PROCESS(NUMBER_IN(w)) == m -> SLOT(g + 1, OWN(t), CACHED) :
                                           SLOT(g + 1, NUMBER_IN(w), RETURNED));
#endif
        mem[WORD(s)] = w;
        if
        :: STATE(w) == CACHED
        :: else -> goto hint
        fi
    }
    /* the own cache: is the pool tight? */
settle:
    atomic {
#ifndef BUG_LOAD_BEFORE_FREE
        x = LOAD_BY(t, WAITERS);
#endif
#ifdef BUG_NO_STAND_ASIDE
        x = 0;
#endif
#if defined(BUG_RECOVERED_UNSEEN) || defined(BUG_RECOVERED_BLINDLY)
        x = (round == RECOVERING -> 0 : x);
#endif
        if
        :: x == 0 -> guess[CACHE(t)] = guess[CACHE(t)] | BIT(s); settled(t)
        :: else
        fi
    }
    /* stand aside, unless another thread has it or the daemon took it back */
aside:
    atomic {
        DRAINED(t) ->
        if
        :: mem[WORD(s)] == w ->
            mem[WORD(s)] = SLOT(GENERATION(w), OWN(t), RETURNED);
            freeing[t] = s + 1
        :: else -> settled(t)
        fi;
#ifdef BUG_RECOVERED_UNHINTED
        /* It was set when the round began. */
        if
        :: round == RECOVERING -> goto ring
        :: else
        fi
#endif
    }
    /* the hint, if it is clear */
hint:
#ifdef BUG_LOAD_BEFORE_HINT
    x = LOAD_BY(t, WAITERS);
#endif
    if
    :: atomic { LOAD_BY(t, HINT) == 0 -> skip }
#ifdef BUG_HINT_PLAIN_STORE
        atomic { store(t, HINT, 1) }
#else
        atomic { DRAINED(t) -> mem[HINT] = 1 }
#endif
    :: atomic { LOAD_BY(t, HINT) != 0 -> skip }
    fi;
    /* Only now: does somebody wait, and was the daemon told of that number? */
ring:
    atomic {
        if
        :: round == ENDING && s < 2 -> next_slot(t) /* once for all of them */
        :: else
        fi;
#ifdef BUG_RECOVERED_UNTOLD
        if
        :: round == RECOVERING -> next_slot(t)
        :: else
        fi;
#endif
#if !defined(BUG_LOAD_BEFORE_FREE) && !defined(BUG_LOAD_BEFORE_HINT)
#ifdef BUG_ONE_LOAD
        /* The own free's load before it stood aside has to do. */
        x = (x == 0 -> LOAD_BY(t, WAITERS) : x);
#else
        x = LOAD_BY(t, WAITERS);
#endif
#endif
        if
        :: (x & 1) && x >> 1 != told[m]
        :: else -> settled(t)
        fi
    }
    /* The eventfd first: another thread that sees `told` relies on it, and this one may be stopped. */
#ifdef BUG_TOLD_BEFORE_EVENTFD
    atomic { told[m] = x >> 1 }
    atomic { nudge[m] = true; settled(t) }
#else
    atomic { nudge[m] = true }
    atomic { told[m] = x >> 1; settled(t) }
#endif
    fi;

    /* One slot after the other (recover_block, return_slots) */
block:
    atomic {
        if
        :: s < 2
        :: s == 2 && round == ENDING -> goto ring
        :: else -> nothing_more(t); goto next
        fi;
        w = LOAD_BY(t, WORD(s));
        if
#ifdef BUG_RECOVERED_ANOTHERS
        :: round == RECOVERING && STATE(w) == RETURNED
#else
        :: round == RECOVERING && STATE(w) == RETURNED && PROCESS(NUMBER_IN(w)) == m
#endif
        :: round == ENDING && (guess[CACHE(t)] & BIT(s)) ->
            guess[CACHE(t)] = guess[CACHE(t)] & ~BIT(s);
            if
            :: STATE(w) == CACHED && NUMBER_IN(w) == OWN(t) -> goto aside
            :: else -> next_slot(t)
            fi
        :: else -> next_slot(t)
        fi
    }
    /* Returned by others it is, and its hint stays: others' slots may need it */
    atomic {
        DRAINED(t) ->
        if
        :: mem[WORD(s)] == w ->
            w = SLOT(GENERATION(w), OWN(t), CACHED);
            mem[WORD(s)] = w;
            freeing[t] = s + 1;
            made_busy(s)
        :: else -> next_slot(t)
        fi
    }
#ifdef BUG_RECOVERED_WITH_HINT
    atomic { DRAINED(t) -> mem[HINT] = 0 }
#endif
    goto settle

    } unless {
        killed[m] || stopped[m]
    }
}

/* ---- The daemon ---------------------------------------------------------------------------------- */

/* What a walk over the slots takes to IDLE. */
#define HINTS 1   /* RETURNED, in blocks with hints */
#define FULL 2    /* RETURNED and CACHED */
#define ENDED 3   /* all of the member `m`, which died */
#define UNKNOWN 4 /* what the request of `m` was granted that was never answered */
#define RECOVER 5 /* as FULL; and the ledger's, of which the word says IDLE */
/* What else threads are revoked for. */
#define TRANSFER 6

#define PATIENT(n) (waits[n] && (m != (n) || req[n] != ASKS))
#define TIGHT (LOAD(WAITERS) != 0)
#define SOMEBODY_WAITS (LOAD(WAITERS) & 1)
#define IS_ASKED(m) (req[m] != 0 && reply[m] == 0 && !taken[m] && connected[m])
#define IS_TOLD(m) (nudge[m] && connected[m])
#define HAS_DIED(m) (killed[m] && !ended[m] && DRAINED(1) && DRAINED(2) && DRAINED(3))
#define RESUMES(m) (!connected[m] && !killed[m] && !stopped[m])
#define HAS_EVENT(m) (IS_ASKED(m) || IS_TOLD(m) || HAS_DIED(m) || RESUMES(m))

/* What others may have made of a word since it was seen (is_possible). */
#ifdef BUG_RECOVERED_IS_DAMAGE
#define WAS_FREE(old) (STATE(old) == CACHED)
#else
#define WAS_FREE(old) IS_FREE(old)
#endif
#define IS_POSSIBLE(e, old, w)                                                                         \
    ((e) == 0 -> (w) == (old) :                                                                        \
    (HOLDER(e) == POOL -> (w) == (old) || STATE(old) == LIVE &&                                        \
                              (w) == SLOT(GENERATION(old) + 1, POOL, RETURNED) :                       \
    (GENERATION(w) == GENERATION(old) -> (w) == (old) || IS_FREE(w) && IS_FREE(old) ||                 \
                                             STATE(w) == LIVE && WAS_FREE(old) :                       \
                                         GENERATION(w) > GENERATION(old))))

/* Whether the word of the slot is its ledger's. */
#define AGREES(e, w)                                                                                   \
    ((e) == 0 -> STATE(w) == IDLE : STATE(w) != IDLE && PROCESS(NUMBER_IN(w)) == HOLDER(e))

#ifdef BUG_SAME_NUMBER_WHEN_WAITING
/* Who begins to wait in a tight pool takes the number there is. */
#define NEXT (!TIGHT || m == 0 || SOMEBODY_WAITS -> 1 : 0)
#else
#define NEXT 1
#endif

inline new_number()
{
    x = LOAD(NUMBER) + NEXT;
    store(DAEMON, NUMBER, x)
}

inline refuse(m)
{
    assert(since[m] == 0); /* exhausted, exactly */
    waits[m] = false;
    taken[m] = false;
    reply[m] = REFUSED
}

inline forget()
{
    m = 0; s = 0; w = 0; x = 0; mode = 0; e = 0; renumber = 0; ahead = 0; patient = 0;
    tried = 0; gathered = 0; queued = 0
}

proctype server()
{
    byte m;     /* whose event it is; 0 = nobody's */
    byte s, w, e, x;
    byte mode;
    byte ahead; /* what was granted ahead of need */
    bool renumber; /* the pool is made tight, or a new number is needed */
    bool patient;  /* somebody waits */
    bool tried;    /* to take back the slot, once */
    byte gathered; /* harvests since the last grant; before the second the pool was made tight */
    bool queued;   /* the request is behind others */
    bool recovering;
start:
    {
    if
    :: atomic { !recovering -> idle = true; goto loop }
    :: atomic { recovering && DRAINED(DAEMON) -> skip } /* the dead one's lock is free */
    fi;

    /* Recovery (lease_recover): a change of hands that was under way. The word's member chooses. */
    if
    :: atomic { mem[KIND] == 0 -> skip }
    :: atomic {
        mem[KIND] != 0 ->
        s = mem[INTENT] & 1;
        w = mem[WORD(s)];
#ifdef BUG_GENERATION_CHOOSES
        if
        :: w == SLOT(mem[KIND] >> 1, mem[INTENT] >> 3, LIVE) ->
#elif defined(BUG_NUMBER_CHOOSES)
        if
        :: NUMBER_IN(w) == mem[INTENT] >> 3 ->
#else
        if
        :: PROCESS(NUMBER_IN(w)) == mem[INTENT] >> 3 ->
#endif
            e = PROCESS(NUMBER_IN(w));
            store(DAEMON, LEDGER(s), ENTRY(0, e));
            e = 0
        :: else
        fi
    }
        atomic { store(DAEMON, KIND, 0) }
    fi;
    /* The dead one's biased threads are known to nobody. */
    atomic {
        mode = RECOVER;
        s = 0;
#ifndef BUG_RESTART_TAKES_NOBODY
        biased = NUMBERED;
#endif
        if
        :: biased != 0 -> goto revoke
        :: else -> goto walk
        fi
    };

recovered:
    /* Tight as it was, with a number of its own; or roomy. */
    if
    :: atomic { mem[WAITERS] == 0 -> skip }
    :: atomic { mem[WAITERS] != 0 -> store(DAEMON, WAITERS, 0) }
    :: atomic { mem[WAITERS] != 0 -> new_number() }
        atomic { store(DAEMON, WAITERS, x << 1) }
    fi;
#ifdef BUG_NUMBER_REUSED
    atomic { x = LOAD(WAITERS) >> 1; store(DAEMON, NUMBER, x) };
#endif
    atomic { recovering = false; forget(); idle = true };

loop:
    if
    /* A request (demand_request); one behind others only has them served (is_queued). */
    :: atomic {
        if
        :: IS_ASKED(1) -> m = 1
        :: IS_ASKED(2) -> m = 2
        fi;
        idle = false;
        queued = waits[1] || waits[2];
        taken[m] = true;
        waits[m] = true;
        goto serve
    }

    /* Somebody has freed, who saw that somebody waits. The eventfd is read first (on_bell). */
    :: atomic {
        if
        :: IS_TOLD(1) -> w = 1
        :: IS_TOLD(2) -> w = 2
        fi;
        idle = false;
#ifndef BUG_EVENTFD_READ_LAST
        nudge[w] = false;
#endif
        w = 0;
        goto serve
    }

    /* A waiting request's time is up (on_timeout). */
    :: atomic {
        if
        :: waits[1] && req[1] == WAITS_SHORTLY -> w = 1
        :: waits[2] && req[2] == WAITS_SHORTLY -> w = 2
        fi;
        idle = false;
        refuse(w);
        w = 0;
        goto serve
    }

    /* A member's mappings are gone. */
    :: atomic {
        if
        :: HAS_DIED(1) -> m = 1
        :: HAS_DIED(2) -> m = 2
        fi;
        idle = false;
        mode = ENDED;
        goto walk
    }

    /* A session goes on after the daemon's death; the request that has no answer is sent again. */
    :: atomic {
        if
        :: RESUMES(1) -> m = 1
        :: RESUMES(2) -> m = 2
        fi;
        idle = false;
        mode = UNKNOWN;
        if
#ifndef BUG_UNKNOWN_KEPT
        :: req[m] != 0 && reply[m] == 0 -> goto walk
#endif
        :: else -> goto resumed
        fi
    }

    /* Enough is free. */
    :: atomic {
        TIGHT && !SOMEBODY_WAITS && (LOAD(LEDGER(0)) == 0 || LOAD(LEDGER(1)) == 0) ->
        store(DAEMON, WAITERS, 0);
        goto loop
    }

    /* An object changes hands, from the very word that was checked. */
    :: atomic {
        transfers > 0 && (KNOWS(0, 0) || KNOWS(0, 1)) ->
        if
        :: KNOWS(0, 0) -> s = 0
        :: KNOWS(0, 1) -> s = 1
        fi;
        w = mem[WORD(s)];
        if
        :: !ended[1] && PROCESS(NUMBER_IN(w)) != 1 -> x = 1
        :: !ended[2] && PROCESS(NUMBER_IN(w)) != 2 -> x = 2
        :: NUMBER_IN(w) != POOL -> x = POOL
        fi;
        assert(IS_POSSIBLE(LOAD(LEDGER(s)), seen[s], w));
        seen[s] = w;
        idle = false;
        transfers--;
        mode = TRANSFER;
        if
        :: !IS_THREAD(NUMBER_IN(w)) -> goto transfer
        :: IS_THREAD(NUMBER_IN(w)) && biased != 0 -> goto revoke
        :: else -> goto look
        fi
    }
    fi;

    /* Tight (pool_tighten): the number is kept, then shown, then fenced. */
tighten:
    atomic {
        patient = PATIENT(1) || PATIENT(2);
#ifdef BUG_SAME_NUMBER
        renumber = !TIGHT || patient && !SOMEBODY_WAITS;
#else
        renumber = !TIGHT || patient;
#endif
        mode = (TIGHT && !look_at_all -> HINTS : FULL);
#ifdef BUG_HINTS_WHEN_TIGHTENED
        mode = HINTS;
#endif
    };
    if
#ifdef BUG_NUMBER_KEPT_LAST
    :: atomic { renumber -> x = LOAD(NUMBER) + 1 }
#else
    :: atomic { renumber -> new_number() }
#endif
        atomic { store(DAEMON, WAITERS, x << 1 | patient) }
#ifdef BUG_NUMBER_KEPT_LAST
        atomic { store(DAEMON, NUMBER, x) }
#endif
#ifndef BUG_NO_FENCE
        atomic { DRAINED(DAEMON) -> skip }
#endif
    :: atomic { !renumber -> skip }
    fi;
    atomic {
        renumber = 0;
        patient = 0;
        x = 0;
        if
        :: mode == FULL && biased != 0
        :: else -> goto harvest
        fi
    };

    /*
     * Before a full harvest, a change of hands, and in recovery (pool_revoke). Who isn't biased has
     * passed a barrier since it was.
     */
revoke:
#ifdef BUG_BARRIER_FIRST
    atomic { barrier() };
#endif
revoke_next:
    atomic {
        DRAINED(DAEMON) ->
        if
        :: biased & BIT(1) -> e = 1
        :: !(biased & BIT(1)) && biased & BIT(2) -> e = 2
        :: !(biased & BIT(1)) && !(biased & BIT(2)) -> e = 3
        fi;
        biased = biased & ~BIT(e);
        mem[REVOKED(e)] = mem[REVOKED(e)] | BY_DAEMON;
        e = 0;
        if
        :: biased != 0 -> goto revoke_next
        :: else
        fi
    };
    atomic {
#if !defined(BUG_NO_BARRIER) && !defined(BUG_BARRIER_FIRST)
        barrier();
#endif
#ifdef BUG_RESTORED_EARLY
        mem[REVOKED(1)] = mem[REVOKED(1)] & ~BY_DAEMON;
        mem[REVOKED(2)] = mem[REVOKED(2)] & ~BY_DAEMON;
        mem[REVOKED(3)] = mem[REVOKED(3)] & ~BY_DAEMON;
#endif
        if
        :: mode == FULL -> goto harvest
        :: mode == RECOVER -> goto walk
        :: mode == TRANSFER -> goto look
        fi
    };

    /* The bit is cleared, then the words are read (pool_harvest, pool_harvest_all). */
harvest:
    if
    :: atomic { mem[HINT] != 0 -> look_at_all = look_at_all && mode != FULL }
#ifdef BUG_HINT_CLEARED_LAST
        goto walk
#elif defined(BUG_HINT_CLEARED_PLAINLY)
        atomic { store(DAEMON, HINT, 0); goto walk }
#else
        atomic { DRAINED(DAEMON) -> mem[HINT] = 0; goto walk }
#endif
    :: atomic {
        mem[HINT] == 0 ->
        look_at_all = look_at_all && mode != FULL;
        if
        :: mode == FULL -> goto walk
        :: mode == HINTS -> goto serve
        fi
    }
    fi;

walk:
    atomic {
        if
        :: s == 2 -> s = 0; goto walked
        :: else
        fi;
        e = LOAD(LEDGER(s));
        w = mem[WORD(s)];
        if
        :: mode == RECOVER && e != 0 && STATE(w) == IDLE -> seen[s] = w; goto walk_ledger
        :: else
        fi;
        assert(AGREES(e, w)); /* else the pool is damaged */
        assert(mode == RECOVER || IS_POSSIBLE(e, seen[s], w)); /* the same */
        seen[s] = w;
        if
        :: mode == HINTS && STATE(w) == RETURNED
        :: (mode == FULL || mode == RECOVER) && IS_FREE(w)
        :: mode == ENDED && HOLDER(e) == m
        :: mode == UNKNOWN && e == ENTRY(1, m) && STATE(w) == LIVE
        :: else -> tried = false; s++; goto walk
        fi;
        if
        :: STATE(w) == CACHED && IS_THREAD(NUMBER_IN(w)) && mode != ENDED
        :: else -> goto take_back
        fi
    }
    /* A thread is in the middle of taking it, and has it. A dead one is in the middle of nothing. */
    atomic {
#ifndef BUG_HARVEST_TAKES_ANNOUNCED
        if
        :: mem[ANNOUNCED(THREAD(NUMBER_IN(w)))] == ANNOUNCEMENT(GENERATION(w), s, TAKES) ->
            if
            :: IN_TAKE(s) -> since[1] = since[1] & ~BIT(s); since[2] = since[2] & ~BIT(s)
            :: else
            fi;
            tried = false;
            s++;
            goto walk
        :: else
        fi
#else
        skip
#endif
    };
take_back:
#ifdef BUG_LEDGER_FIRST
    atomic { store(DAEMON, LEDGER(s), 0) };
#endif
    atomic {
        DRAINED(DAEMON) ->
        if
        :: mem[WORD(s)] == w ->
            mem[WORD(s)] = SLOT(GENERATION(w) + (STATE(w) == LIVE), 0, IDLE);
            seen[s] = mem[WORD(s)];
            if
            :: mode == ENDED -> alive[s] = false
            :: else -> assert(!alive[s])
            fi
        /*
         * Once more (collect). A dead session's may have been freed meanwhile, but by one only.
         * Another's that became RETURNED may have been free all along: it stood aside, late, for a
         * number of long ago.
         */
        :: else ->
            assert(mode != ENDED || !tried);
            if
#ifdef BUG_HARVEST_TRIED_ONCE
            :: mode == ENDED && !tried -> tried = true
#else
            :: !tried -> tried = true
#endif
            :: else -> tried = false; s++
            fi;
            goto walk
        fi
    };
walk_ledger:
    atomic {
#ifndef BUG_LEDGER_FIRST
        store(DAEMON, LEDGER(s), 0);
#endif
        tried = false;
        s++;
#ifdef BUG_BLOCK_NOT_FINISHED
        s = (mode == HINTS -> 2 : s);
#endif
        goto walk
    };

walked:
#ifdef BUG_HINT_CLEARED_LAST
    if
    :: atomic { (mode == HINTS || mode == FULL) && DRAINED(DAEMON) -> mem[HINT] = 0 }
    :: atomic { mode != HINTS && mode != FULL -> skip }
    fi;
#endif
    atomic {
        if
        :: mode == RECOVER -> goto recovered
        :: mode == UNKNOWN -> goto resumed
        :: mode == FULL || mode == HINTS -> goto serve
        :: mode == ENDED
        fi;
        ended[m] = true;
        connected[m] = true;
        waits[m] = false;
        req[m] = 0;
        reply[m] = 0;
        taken[m] = false;
        nudge[m] = false;
        guess[1] = (CACHE_IS_OF(1, m) -> 0 : guess[1]);
        guess[2] = (CACHE_IS_OF(2, m) -> 0 : guess[2]);
        guess[3] = (CACHE_IS_OF(3, m) -> 0 : guess[3]);
        since[m] = 0;
        freeing[1] = (THREAD_OF(1) == m -> 0 : freeing[1]);
        freeing[2] = (THREAD_OF(2) == m -> 0 : freeing[2]);
        freeing[3] = (THREAD_OF(3) == m -> 0 : freeing[3]);
        amid[1] = (THREAD_OF(1) == m -> 0 : amid[1]);
        amid[2] = (THREAD_OF(2) == m -> 0 : amid[2]);
        amid[3] = (THREAD_OF(3) == m -> 0 : amid[3]);
        m = 0;
#ifndef BUG_NO_FULL_AFTER_DEATH
        look_at_all = true;
#endif
        goto serve
    };

resumed:
    atomic {
        connected[m] = true;
        if
        :: req[m] != 0 && reply[m] == 0 -> since[m] = AVAILABLE
        :: else
        fi;
        nudge[m] = false; /* it may have a new eventfd, since whoever waits is served now */
        m = 0;
#ifdef BUG_RESUME_SERVES_NOBODY
        goto done
#else
        goto serve
#endif
    };

    /*
     * Who waits gets what is free; whose request this is, last (serve). If nothing is, what has hints
     * is harvested; then the pool is made tight, or gets a new number, and is harvested again
     * (leasing_gather).
     */
serve:
    atomic {
        mode = 0;
        if
        :: waits[1] && (m != 1 || !waits[2]) -> e = 1
        :: waits[2] && (m != 2 || !waits[1]) -> e = 2
        :: else -> goto served
        fi;
        if
        :: LOAD(LEDGER(0)) == 0 -> s = 0
        :: LOAD(LEDGER(1)) == 0 -> s = 1
        :: else ->
            e = 0;
            s = 0;
            gathered++;
            if
            :: gathered == 1 -> mode = HINTS; goto harvest
            :: gathered == 2 && !queued -> goto tighten
            :: else -> goto served
            fi
        fi;
        gathered = 0;
        queued = false;
        assert(mem[WORD(s)] == seen[s] && STATE(seen[s]) == IDLE);
        waits[e] = false
#ifndef BUG_WORD_FIRST
        ; store(DAEMON, LEDGER(s), ENTRY(1, e))
#endif
    };
    atomic {
        DRAINED(DAEMON) ->
        mem[WORD(s)] = SLOT(GENERATION(mem[WORD(s)]), e, LIVE);
        seen[s] = mem[WORD(s)];
        made_busy(s)
    };
#ifdef BUG_WORD_FIRST
    atomic { store(DAEMON, LEDGER(s), ENTRY(1, e)) };
#endif
    /* Ahead of need, if there is more and nobody else is in need: under no request's number. */
    if
    :: atomic {
        !TIGHT && !waits[1] && !waits[2] && LOAD(LEDGER(1 - s)) == 0 ->
#ifdef BUG_AHEAD_NUMBERED
        store(DAEMON, LEDGER(1 - s), ENTRY(1, e));
#else
        store(DAEMON, LEDGER(1 - s), ENTRY(0, e));
#endif
        ahead = BIT(1 - s)
    }
        atomic {
            DRAINED(DAEMON) ->
            mem[WORD(1 - s)] = SLOT(GENERATION(mem[WORD(1 - s)]), GRANTEE_OF(e), CACHED);
            seen[1 - s] = mem[WORD(1 - s)];
            if
            :: HAS_NUMBER(GRANTEE(e))
            :: else -> goto granted
            fi
        }
        /* The thread may store plainly again, unless a member minds */
        atomic {
            DRAINED(DAEMON) ->
            biased = biased | BIT(GRANTEE(e));
            mem[REVOKED(GRANTEE(e))] = mem[REVOKED(GRANTEE(e))] & ~BY_DAEMON
        }
    :: atomic { skip }
    fi;
granted:
    atomic {
        reply[e] = s + 1 | ahead << 4;
        taken[e] = false;
        ahead = 0; s = 0; e = 0;
        goto serve
    };

served:
    atomic {
        if
        :: m != 0 && waits[m] && req[m] == ASKS -> refuse(m)
        :: else
        fi;
        m = 0;
        if
        :: SOMEBODY_WAITS && !waits[1] && !waits[2] ->
            x = LOAD(WAITERS) & ~1;
            store(DAEMON, WAITERS, x);
            x = 0
        :: else
        fi
#ifdef BUG_EVENTFD_READ_LAST
        ; nudge[1] = false;
        nudge[2] = false
#endif
    };

done:
    atomic {
        assert(!(waits[1] || waits[2]) || LOAD(LEDGER(0)) != 0 && LOAD(LEDGER(1)) != 0);
        forget();
        idle = true;
        goto loop
    };

look:
    atomic {
#ifndef BUG_TRANSFER_IGNORES_ANNOUNCED
        if
        :: mem[ANNOUNCED(THREAD(NUMBER_IN(w)))] == ANNOUNCEMENT(GENERATION(w), s, GIVES) ->
            assert(IS_STALE(s, GENERATION(w)) || IS_GIVEN(THREAD(NUMBER_IN(w)), s, GENERATION(w)));
            goto serve
        :: else
        fi
#else
        skip
#endif
    };
transfer:
#ifndef BUG_NO_INTENT
    atomic { store(DAEMON, INTENT, s | x << 3) };
    atomic { store(DAEMON, KIND, 1 | GENERATION(w) << 1) };
#endif
    atomic {
        DRAINED(DAEMON) ->
        if
        :: mem[WORD(s)] == w ->
            mem[WORD(s)] = SLOT(GENERATION(w), x, LIVE);
            seen[s] = mem[WORD(s)]
        :: else -> goto transferred /* freed meanwhile */
        fi
    };
    atomic { store(DAEMON, LEDGER(s), ENTRY(0, x)) };
transferred:
#ifndef BUG_NO_INTENT
    atomic { store(DAEMON, KIND, 0) };
#endif
    goto serve

    } unless {
        atomic {
            daemon_killed ->
            daemon_killed = false;
            recovering = true;
            forget();
            goto start
        }
    }
}

/* ---- The world ----------------------------------------------------------------------------------- */

#define RESTS(t) (!busy[t] || killed[THREAD_OF(t)] || stopped[THREAD_OF(t)])
#define HAS_READ(m) (reply[m] == 0 || killed[m] || stopped[m])
#define QUIET                                                                                          \
    (idle && !daemon_killed && !HAS_EVENT(1) && !HAS_EVENT(2) && RESTS(1) && RESTS(2) && RESTS(3) &&    \
     HAS_READ(1) && HAS_READ(2) && DRAINED(0) && DRAINED(1) && DRAINED(2) && DRAINED(3))

/* What holds when nothing is under way. It changes nothing, so it may be taken in each such state. */
inline check_slot(s)
{
    assert(alive[s] -> GENERATION(mem[WORD(s)]) == fresh[s] - 1 : GENERATION(mem[WORD(s)]) >= fresh[s]);
    assert(AGREES(mem[LEDGER(s)], mem[WORD(s)]));
    assert(HOLDER(mem[LEDGER(s)]) == POOL || !ended[HOLDER(mem[LEDGER(s)])]);
    assert(alive[s] == (STATE(mem[WORD(s)]) == LIVE) || stopped[HOLDER(mem[LEDGER(s)])]);
    /* Who is stopped in the middle of a free has it not done yet, or is in the middle of taking it. */
    assert(!(waits[1] || waits[2]) || STATE(mem[WORD(s)]) == LIVE || IN_FREE(s) || IN_TAKE(s))
}

/* A connection breaks, with the reply that is on it; the daemon hears of it between events. */
#define MAY_LOSE(m) ((idle && connected[m] || daemon_killed) && req[m] != 0)

inline lose(m)
{
    losses--;
    connected[m] = ended[m];
    waits[m] = false;
    taken[m] = false;
    reply[m] = 0
}

proctype world(byte member_deaths; byte who_stops)
{
    byte i;
    do
    :: d_step { length[0] > 0 -> flush(0) }
    :: d_step { length[1] > 0 -> flush(1) }
    :: d_step { length[2] > 0 -> flush(2) }
    :: d_step { length[3] > 0 -> flush(3) }
    :: d_step {
        daemon_deaths > 0 && !daemon_killed ->
        daemon_deaths--;
        daemon_killed = true;
        idle = false;
        waits[1] = false; waits[2] = false;
        taken[1] = false; taken[2] = false;
        connected[1] = ended[1]; connected[2] = ended[2];
        look_at_all = false;
        biased = 0;
        seen[0] = 0; seen[1] = 0
    }
    :: d_step { member_deaths & BIT(1) && !killed[1] -> killed[1] = true }
    :: d_step { member_deaths & BIT(2) && !killed[2] -> killed[2] = true }
    :: d_step { who_stops & BIT(1) && !stopped[1] && !killed[1] -> stopped[1] = true }
    :: d_step { who_stops & BIT(2) && !stopped[2] && !killed[2] -> stopped[2] = true }
    :: d_step { losses > 0 && MAY_LOSE(1) -> lose(1) }
    :: d_step { losses > 0 && MAY_LOSE(2) -> lose(2) }
    :: d_step { QUIET -> check_slot(0); check_slot(1) }
    od
}

/* A slot begins as the number's, LIVE, with a handle that everybody knows; or CACHED; or RETURNED. */
inline begin_live(s, number)
{
    mem[WORD(s)] = SLOT(0, number, LIVE);
    mem[LEDGER(s)] = ENTRY(0, PROCESS(number));
    seen[s] = mem[WORD(s)];
    alive[s] = true;
    fresh[s] = 1
}

inline begin_cached(s, number)
{
    mem[WORD(s)] = SLOT(0, number, CACHED);
    mem[LEDGER(s)] = ENTRY(0, PROCESS(number));
    seen[s] = mem[WORD(s)];
    guess[THREAD(number)] = guess[THREAD(number)] | BIT(s)
}

inline begin_returned(s, number)
{
    mem[WORD(s)] = SLOT(0, number, RETURNED);
    mem[LEDGER(s)] = ENTRY(0, PROCESS(number));
    seen[s] = SLOT(0, number, CACHED);
    mem[HINT] = 1
}

/* Threads with a number of their own begin biased, or revoked by the daemon. */
#define BEGINS(t) (HAS_NUMBER(t) && !((BIASED) & BIT(t)) -> BY_DAEMON : 0)

init {
    atomic {
        connected[1] = true;
        connected[2] = true;
        biased = BIASED;
        mem[REVOKED(1)] = BEGINS(1);
        mem[REVOKED(2)] = BEGINS(2);
        mem[REVOKED(3)] = BEGINS(3);
        begin();
        run server();
        run thread(1, THREAD_OF(1), OPS1, CAN1);
        run thread(2, THREAD_OF(2), OPS2, CAN2);
#ifdef OPS3
        run thread(3, THREAD_OF(3), OPS3, CAN3);
#endif
        run world(MEMBER_DEATHS, STOPS)
    }
}
