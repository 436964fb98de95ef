/* SPDX-License-Identifier: MIT */
/*
 * Leased pools (docs/decisions/0015-leased-pools.md): a daemon, two members with up to three threads,
 * two slots. README.md says how this corresponds to the C code, and what is seeded by BUG_*.
 *
 * Each `atomic` has at most one access of shared memory that others could see. Between any two of
 * them everything may happen: other processes' steps, stores reaching memory, deaths.
 */
#include "memory.pml"

/* ---- Slot words and ledger entries, as in shm/slot.h and shm/layout.h, in fewer bits ------------- */

#define IDLE 0
#define CACHED 1
#define LIVE 2
#define RETURNED 4

#define POOL 3 /* the member that owns what was detached */

#define SLOT(generation, member, state) ((generation) << 5 | (member) << 3 | (state))
#define GENERATION(word) ((word) >> 5)
#define MEMBER(word) ((word) >> 3 & 3)
#define STATE(word) ((word) & 7)
#define IS_FREE(word) (STATE(word) == CACHED || STATE(word) == RETURNED)

/*
 * Of the number of the request it only matters whether that request has an answer, so here it is 1
 * until then, and 0 after.
 */
#define ENTRY(request, member) ((request) << 2 | (member))
#define HOLDER(entry) ((entry) & 3)

#define BIT(s) (1 << (s))

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
byte guess[3];     /* the slots in the cache: what may be CACHED */
byte told[3];      /* the number that the daemon was told about */

/* The daemon's own memory: gone with it. */
bool waits[3];
bool look_at_all;  /* the next harvest has to be a full one */
byte seen[2];      /* each slot's word, when it looked last */
bool idle;         /* it waits for events */

bool daemon_killed; /* and hasn't started again */

/* ---- What is only there to be checked ------------------------------------------------------------ */

bool alive[2];   /* somebody has a handle of an object that isn't freed */
byte fresh[2];   /* the first generation of which no handle was ever given out */
byte freeing[4]; /* slot + 1 that the thread is in the middle of freeing, recovering or returning */
bool busy[4];    /* the thread is in the middle of something */
byte since[3];   /* slots that have been free ever since the member's request began */

/*
 * A free that isn't over doesn't count, except that a slot is had once the bit stands: until then
 * only the thread knows. Nor does one that is being recovered, or returned as its thread's cache ends.
 * A dead thread's is over when the daemon has ended its session.
 */
#define IN_FREE(s) (freeing[1] == (s) + 1 || freeing[2] == (s) + 1 || freeing[3] == (s) + 1)
#define IS_AVAILABLE(s)                                                                                \
    (STATE(mem[WORD(s)]) == IDLE || STATE(mem[WORD(s)]) == RETURNED && mem[HINT] ||                    \
     IS_FREE(mem[WORD(s)]) && !IN_FREE(s))
#define AVAILABLE (IS_AVAILABLE(0) | IS_AVAILABLE(1) << 1)

#include "scenarios.pml"

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
    busy[t] = false;
    s = 0; g = 0; w = 0; x = 0; round = 0
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
    /* allocate: a guess; the word decides (take_one) */
    :: atomic {
        (can & ALLOCATES) && ops > 0 && guess[m] != 0 ->
        ops--;
        if
        :: guess[m] & BIT(0) -> s = 0
        :: guess[m] & BIT(1) -> s = 1
        fi;
        guess[m] = guess[m] & ~BIT(s);
        w = mem[WORD(s)];
        if
        :: STATE(w) == CACHED && MEMBER(w) == m -> busy[t] = true
        :: else -> nothing_more(t); goto next
        fi
    }
    atomic {
        DRAINED(t) ->
        if
        :: mem[WORD(s)] == w ->
            mem[WORD(s)] = SLOT(GENERATION(w), m, LIVE);
            made_busy(s);
            got_handle(s, GENERATION(w))
        :: else
        fi;
        nothing_more(t);
        goto next
    }

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
            guess[m] = guess[m] | reply[m] >> 4
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
        (can & ENDS) && ops > 0 && guess[m] != 0 ->
        ops--;
        busy[t] = true;
        round = ENDING
    }
    goto block;

    /* free, by whatever handle there is; others may free the same (free_one) */
    :: atomic {
        (can & FREES) && ops > 0 && (alive[0] || alive[1]) ->
        ops--;
        busy[t] = true;
        if
        :: alive[0] -> s = 0
        :: alive[1] -> s = 1
        fi;
        g = fresh[s] - 1;
#ifdef BUG_LOAD_BEFORE_FREE
        x = LOAD_BY(t, WAITERS)
#endif
    }
again: /* a change of hands is no reason to fail */
    atomic {
        w = mem[WORD(s)];
        if
        :: STATE(w) == LIVE && GENERATION(w) == g
        :: else -> /* stale, and it is */
            assert(!(alive[s] && fresh[s] == g + 1));
            nothing_more(t);
            goto next
        fi
    }
    atomic {
        DRAINED(t) ->
        if
        :: mem[WORD(s)] == w
        :: else ->
#ifdef BUG_FREE_TRIED_ONCE
            assert(!(alive[s] && fresh[s] == g + 1));
            nothing_more(t);
            goto next
#else
            goto again
#endif
        fi;
        assert(alive[s] && fresh[s] == g + 1);
        assert(g < 7); /* what a word of this model holds */
        alive[s] = false;
        freeing[t] = s + 1;
#ifdef BUG_SAME_GENERATION
        w = SLOT(g, MEMBER(w), (MEMBER(w) == m -> CACHED : RETURNED));
#else
        w = SLOT(g + 1, MEMBER(w), (MEMBER(w) == m -> CACHED : RETURNED));
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
        :: x == 0 -> guess[m] = guess[m] | BIT(s); settled(t)
        :: else
        fi
    }
    /* stand aside, unless another thread has it or the daemon took it back */
aside:
    atomic {
        DRAINED(t) ->
        if
        :: mem[WORD(s)] == w ->
            mem[WORD(s)] = SLOT(GENERATION(w), m, RETURNED);
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
        w = mem[WORD(s)];
        if
#ifdef BUG_RECOVERED_ANOTHERS
        :: round == RECOVERING && STATE(w) == RETURNED
#else
        :: round == RECOVERING && STATE(w) == RETURNED && MEMBER(w) == m
#endif
        :: round == ENDING && (guess[m] & BIT(s)) ->
            guess[m] = guess[m] & ~BIT(s);
            if
            :: STATE(w) == CACHED && MEMBER(w) == m -> goto aside
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
            w = SLOT(GENERATION(w), m, CACHED);
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
#define AGREES(e, w) ((e) == 0 -> STATE(w) == IDLE : STATE(w) != IDLE && MEMBER(w) == HOLDER(e))

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
#else
        if
        :: MEMBER(w) == mem[INTENT] >> 3 ->
#endif
            store(DAEMON, LEDGER(s), ENTRY(0, MEMBER(w)))
        :: else
        fi
    }
        atomic { store(DAEMON, KIND, 0) }
    fi;
    atomic { mode = RECOVER; s = 0; goto walk };

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
        transfers > 0 && (alive[0] || alive[1]) ->
        if
        :: alive[0] -> s = 0
        :: alive[1] -> s = 1
        fi;
        w = mem[WORD(s)];
        if
        :: !ended[1] && MEMBER(w) != 1 -> x = 1
        :: !ended[2] && MEMBER(w) != 2 -> x = 2
        :: MEMBER(w) != POOL -> x = POOL
        fi;
        assert(IS_POSSIBLE(LOAD(LEDGER(s)), seen[s], w));
        seen[s] = w;
        idle = false;
        transfers--;
        goto transfer
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
    atomic { renumber = 0; patient = 0; x = 0 };

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
        fi
    }
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
        guess[m] = 0;
        since[m] = 0;
        freeing[1] = (THREAD_OF(1) == m -> 0 : freeing[1]);
        freeing[2] = (THREAD_OF(2) == m -> 0 : freeing[2]);
        freeing[3] = (THREAD_OF(3) == m -> 0 : freeing[3]);
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
            mem[WORD(1 - s)] = SLOT(GENERATION(mem[WORD(1 - s)]), e, CACHED);
            seen[1 - s] = mem[WORD(1 - s)]
        }
    :: atomic { skip }
    fi;
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
    /* Who is stopped in the middle of a free has it not done yet. */
    assert(!(waits[1] || waits[2]) || STATE(mem[WORD(s)]) == LIVE || IN_FREE(s))
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

/* A slot begins as the member's, LIVE, with a handle that everybody knows; or CACHED; or RETURNED. */
inline begin_live(s, m)
{
    mem[WORD(s)] = SLOT(0, m, LIVE);
    mem[LEDGER(s)] = ENTRY(0, m);
    seen[s] = mem[WORD(s)];
    alive[s] = true;
    fresh[s] = 1
}

inline begin_cached(s, m)
{
    mem[WORD(s)] = SLOT(0, m, CACHED);
    mem[LEDGER(s)] = ENTRY(0, m);
    seen[s] = mem[WORD(s)];
    guess[m] = guess[m] | BIT(s)
}

inline begin_returned(s, m)
{
    mem[WORD(s)] = SLOT(0, m, RETURNED);
    mem[LEDGER(s)] = ENTRY(0, m);
    seen[s] = SLOT(0, m, CACHED);
    mem[HINT] = 1
}

init {
    atomic {
        connected[1] = true;
        connected[2] = true;
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
