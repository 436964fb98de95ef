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
bool idle;         /* it waits for events */

bool daemon_killed; /* and hasn't started again */

/* ---- What is only there to be checked ------------------------------------------------------------ */

bool alive[2];   /* somebody has a handle of an object that isn't freed */
byte fresh[2];   /* the first generation of which no handle was ever given out */
byte freeing[4]; /* slot + 1 of which the thread is in the middle of a free */
bool busy[4];    /* the thread is in the middle of something */
byte since[3];   /* slots that have been free ever since the member's request began */

/*
 * A free that isn't over doesn't count, except that a slot is had once the bit stands: until then
 * only the thread knows. A dead thread's is over when the daemon has ended its session.
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

/* A slot becomes LIVE: it was nobody's, and isn't free any more. */
inline made_live(s)
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
    s = 0; g = 0; w = 0; x = 0
}

proctype thread(byte t; byte m; byte ops; byte can)
{
    byte s, g, w, x;
next:
    {
    if
    /* allocate: a guess; the word decides (cache_allocate) */
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
            made_live(s);
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

    /* free, by whatever handle there is; others may free the same (cache_free) */
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
    atomic {
#ifndef BUG_LOAD_BEFORE_FREE
        x = LOAD_BY(t, WAITERS);
#endif
#ifdef BUG_NO_STAND_ASIDE
        x = 0;
#endif
        if
        :: x == 0 ->
            guess[m] = guess[m] | BIT(s);
            nothing_more(t);
            goto next
        :: else
        fi
    }
    /* stand aside, unless another thread has it or the daemon took it back */
    atomic {
        DRAINED(t) ->
        if
        :: mem[WORD(s)] == w -> mem[WORD(s)] = SLOT(GENERATION(w), m, RETURNED)
        :: else -> nothing_more(t); goto next
        fi
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
    atomic {
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
        :: else -> nothing_more(t); goto next
        fi
    }
    /* The eventfd first: another thread that sees `told` relies on it, and this one may be stopped. */
#ifdef BUG_TOLD_BEFORE_EVENTFD
    atomic { told[m] = x >> 1 }
    atomic { nudge[m] = true; nothing_more(t); goto next }
#else
    atomic { nudge[m] = true }
    atomic { told[m] = x >> 1; nothing_more(t); goto next }
#endif
    fi

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

#define TIGHT (LOAD(WAITERS) != 0)
#define SOMEBODY_WAITS (LOAD(WAITERS) & 1)
#define IS_ASKED(m) (req[m] != 0 && reply[m] == 0 && !taken[m] && connected[m])
#define IS_TOLD(m) (nudge[m] && connected[m])
#define HAS_DIED(m) (killed[m] && !ended[m] && DRAINED(1) && DRAINED(2) && DRAINED(3))
#define RESUMES(m) (!connected[m] && !killed[m] && !stopped[m])
#define HAS_EVENT(m) (IS_ASKED(m) || IS_TOLD(m) || HAS_DIED(m) || RESUMES(m))

/* Whether the word of the slot is its ledger's. */
#define AGREES(e, w) ((e) == 0 -> STATE(w) == IDLE : STATE(w) != IDLE && MEMBER(w) == HOLDER(e))

#ifdef BUG_SAME_NUMBER_WHEN_WAITING
/* Who begins to wait in a tight pool takes the number there is. */
#define NEXT (mode == FULL || m == 0 -> 1 : 0)
#else
#define NEXT 1
#endif

inline new_number()
{
    x = LOAD(NUMBER) + NEXT;
    store(DAEMON, NUMBER, x)
}

inline forget()
{
    m = 0; s = 0; w = 0; x = 0; mode = 0; e = 0; renumber = 0; ahead = 0; patient = 0
}

proctype server()
{
    byte m;     /* whose event it is; 0 = nobody's */
    byte s, w, e, x;
    byte mode;
    byte ahead; /* what was granted ahead of need */
    bool renumber; /* the pool is made tight, or a new number is needed */
    bool patient;  /* somebody waits */
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
    /* A request. If nothing is free, the pool becomes tight; before anybody waits, a new number. */
    :: atomic {
        if
        :: IS_ASKED(1) -> m = 1
        :: IS_ASKED(2) -> m = 2
        fi;
        idle = false;
        taken[m] = true;
        waits[m] = true;
        if
        :: LOAD(LEDGER(0)) == 0 || LOAD(LEDGER(1)) == 0 -> goto serve
        :: else
        fi;
        patient = req[m] != ASKS;
        mode = (TIGHT && !look_at_all -> HINTS : FULL);
        renumber = !TIGHT || patient && !SOMEBODY_WAITS;
        patient = patient || SOMEBODY_WAITS;
#ifdef BUG_HINTS_WHEN_TIGHTENED
        mode = HINTS;
#endif
    }

    /* Somebody has freed, who saw that somebody waits. The eventfd is read first. */
    :: atomic {
        if
        :: IS_TOLD(1) -> w = 1
        :: IS_TOLD(2) -> w = 2
        fi;
        idle = false;
#ifndef BUG_EVENTFD_READ_LAST
        nudge[w] = false;
        w = 0;
#endif
        if
        :: SOMEBODY_WAITS -> skip
        :: else -> goto done
        fi;
        mode = (look_at_all -> FULL : HINTS);
#ifndef BUG_SAME_NUMBER
        renumber = true;
        patient = true
#endif
    }

    /* A waiting request's time is up: a harvest, then it is refused. */
    :: atomic {
        if
        :: waits[1] && req[1] == WAITS_SHORTLY -> m = 1
        :: waits[2] && req[2] == WAITS_SHORTLY -> m = 2
        fi;
        idle = false;
        req[m] = ASKS;
        mode = (look_at_all -> FULL : HINTS);
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
        idle = false;
        transfers--;
        goto transfer
    }
    fi;

    /* Tight (lease_tighten): the number is kept, then shown, then fenced. */
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

harvest:
    if
    :: atomic { mode == FULL -> look_at_all = false; goto walk }
#ifdef BUG_HINT_CLEARED_LAST
    :: atomic { mode == HINTS && mem[HINT] != 0 -> goto walk }
#else
    :: atomic { mode == HINTS && mem[HINT] != 0 -> skip }
#ifdef BUG_HINT_CLEARED_PLAINLY
        atomic { store(DAEMON, HINT, 0); goto walk }
#else
        atomic { DRAINED(DAEMON) -> mem[HINT] = 0; goto walk }
#endif
#endif
    :: atomic { mode == HINTS && mem[HINT] == 0 -> goto serve }
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
        :: mode == RECOVER && e != 0 && STATE(w) == IDLE -> goto walk_ledger
        :: else
        fi;
        assert(AGREES(e, w)); /* else the pool is damaged */
        if
        :: mode == HINTS && STATE(w) == RETURNED
        :: (mode == FULL || mode == RECOVER) && IS_FREE(w)
        :: mode == ENDED && HOLDER(e) == m
        :: mode == UNKNOWN && e == ENTRY(1, m) && STATE(w) == LIVE
        :: else -> s++; goto walk
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
            if
            :: mode == ENDED -> alive[s] = false
            :: else -> assert(!alive[s])
            fi
        /*
         * A dead session's is taken back whoever freed it meanwhile. Another's that became RETURNED may
         * have been free all along: it stood aside, late, for a number of long ago. Else somebody has
         * it, who tells when he frees it.
         */
        :: else ->
            if
            :: mode == ENDED
#ifndef BUG_HARVEST_TRIED_ONCE
            :: mode != ENDED && STATE(mem[WORD(s)]) == RETURNED
#endif
            :: else -> s++
            fi;
            goto walk
        fi
    };
walk_ledger:
    atomic {
#ifndef BUG_LEDGER_FIRST
        store(DAEMON, LEDGER(s), 0);
#endif
        s++;
#ifdef BUG_BLOCK_NOT_FINISHED
        s = (mode == HINTS -> 2 : s);
#endif
        goto walk
    };

walked:
#ifdef BUG_HINT_CLEARED_LAST
    if
    :: atomic { mode == HINTS && DRAINED(DAEMON) -> mem[HINT] = 0 }
    :: atomic { mode != HINTS -> skip }
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
        if
        :: waits[1] || waits[2] -> mode = (look_at_all -> FULL : HINTS); goto harvest
        :: else -> goto serve
        fi
    };

resumed:
    atomic {
        connected[m] = true;
        if
        :: req[m] != 0 && reply[m] == 0 -> since[m] = AVAILABLE
        :: else
        fi;
#ifdef BUG_NEW_EVENTFD
        nudge[m] = false;
#endif
        m = 0;
#ifdef BUG_RESUME_SERVES_NOBODY
        goto done
#else
        goto serve
#endif
    };

    /* Who waits gets what is free; whose request this is, last (lease_grant). */
serve:
    atomic {
        mode = 0;
        if
        :: LOAD(LEDGER(0)) == 0 -> s = 0
        :: LOAD(LEDGER(1)) == 0 -> s = 1
        :: else -> goto served
        fi;
        if
        :: waits[1] && (m != 1 || !waits[2]) -> e = 1
        :: waits[2] && (m != 2 || !waits[1]) -> e = 2
        :: else -> s = 0; goto served
        fi;
        assert(STATE(mem[WORD(s)]) == IDLE);
        waits[e] = false
#ifndef BUG_WORD_FIRST
        ; store(DAEMON, LEDGER(s), ENTRY(1, e))
#endif
    };
    atomic {
        DRAINED(DAEMON) ->
        mem[WORD(s)] = SLOT(GENERATION(mem[WORD(s)]), e, LIVE);
        made_live(s)
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
            mem[WORD(1 - s)] = SLOT(GENERATION(mem[WORD(1 - s)]), e, CACHED)
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
        :: m != 0 && waits[m] && req[m] == ASKS ->
            assert(since[m] == 0); /* exhausted, exactly */
            waits[m] = false;
            taken[m] = false;
            reply[m] = REFUSED
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
        :: mem[WORD(s)] == w -> mem[WORD(s)] = SLOT(GENERATION(w), x, LIVE)
        :: else -> goto transferred /* freed meanwhile */
        fi
    };
    atomic { store(DAEMON, LEDGER(s), ENTRY(0, x)) };
transferred:
#ifndef BUG_NO_INTENT
    atomic { store(DAEMON, KIND, 0) };
#endif
    goto done

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
        look_at_all = false
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

/* A slot begins as the member's, LIVE, with a handle that everybody knows; or CACHED. */
inline begin_live(s, m)
{
    mem[WORD(s)] = SLOT(0, m, LIVE);
    mem[LEDGER(s)] = ENTRY(0, m);
    alive[s] = true;
    fresh[s] = 1
}

inline begin_cached(s, m)
{
    mem[WORD(s)] = SLOT(0, m, CACHED);
    mem[LEDGER(s)] = ENTRY(0, m);
    guess[m] = guess[m] | BIT(s)
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
