/* SPDX-License-Identifier: MIT */
/*
 * The scenarios: how each begins, who does what, up to how often, and what dies. Whatever this
 * leaves open happens in every order. Threads 1 to 3 belong to the members that THREAD_OF says.
 */

/* What a thread does. */
#define ALLOCATES 1      /* from the cache */
#define FREES 2          /* any object */
#define ASKS 4           /* the daemon, which refuses when there is nothing */
#define WAITS 8          /* asks the daemon, and waits */
#define WAITS_SHORTLY 16 /* the same, and its time may be up */
#define RECOVERS 32      /* what others freed of the member's */
#define ENDS 64          /* returns what is cached */

#if defined(SCENARIO_CHURN)
/* Caches, both kinds of free, take-back, refusals. */
#define OPS1 3
#define CAN1 (ALLOCATES | FREES | ASKS)
#define OPS2 3
#define CAN2 (ALLOCATES | FREES | ASKS)
inline begin() { skip }

#elif defined(SCENARIO_WAIT)
/* One waits, again and again; the other frees, allocates from its cache and asks for more. */
#define OPS1 2
#define CAN1 (FREES | WAITS | WAITS_SHORTLY)
#define OPS2 3
#define CAN2 (ALLOCATES | FREES | ASKS)
inline begin()
{
    begin_live(0, 2);
    if
    :: begin_live(1, 2)
    :: begin_cached(1, 2)
    fi
}

#elif defined(SCENARIO_FOREIGN)
/* One waits; two threads of the other free its objects and their own, into one block of hints. */
#define THREAD_OF(t) ((t) == 1 -> 1 : 2)
#define OPS1 2
#define CAN1 (WAITS | FREES)
#define OPS2 1
#define CAN2 (FREES | ALLOCATES)
#define OPS3 1
#define CAN3 (FREES | ALLOCATES)
inline begin()
{
    if
    :: begin_live(0, 1)
    :: begin_live(0, 2)
    fi;
    begin_live(1, 2)
}

#elif defined(SCENARIO_STOP)
/* The same, and the other is stopped at any step: what it had freed by then can be had. */
#define THREAD_OF(t) ((t) == 1 -> 1 : 2)
#define OPS1 1
#define CAN1 WAITS
#define OPS2 1
#define CAN2 (FREES | ALLOCATES)
#define OPS3 1
#define CAN3 (FREES | ALLOCATES)
#define STOPS BIT(2)
inline begin()
{
    if
    :: begin_live(0, 1)
    :: begin_live(0, 2)
    fi;
    begin_live(1, 2)
}

#elif defined(SCENARIO_DEATH)
/* Members die at any step, while the other waits or doesn't. */
#define OPS1 1
#define CAN1 (FREES | WAITS)
#define OPS2 2
#define CAN2 (ALLOCATES | FREES | WAITS_SHORTLY)
#define MEMBER_DEATHS (BIT(1) | BIT(2))
inline begin()
{
    begin_live(0, 1);
    begin_live(1, 2)
}

#elif defined(SCENARIO_DEATHS)
/* A member and the daemon die at any step, while the other member waits. */
#define OPS1 1
#define CAN1 WAITS
#define OPS2 1
#define CAN2 FREES
#define MEMBER_DEATHS BIT(2)
#define DAEMON_DEATHS 1
inline begin()
{
    begin_live(0, 1);
    begin_live(1, 2)
}

#elif defined(SCENARIO_TRANSFER)
/* An object changes hands while it is freed, and while a member and the daemon die. */
#define OPS1 1
#define CAN1 FREES
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
#define MEMBER_DEATHS (BIT(1) | BIT(2))
#define TRANSFERS 1
#define DAEMON_DEATHS 1
inline begin()
{
    begin_live(0, 1)
}

#elif defined(SCENARIO_TRANSFERS)
/* Objects change hands twice; the daemon dies, and once more, in recovery, too. */
#define OPS1 1
#define CAN1 FREES
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
#define TRANSFERS 2
#define DAEMON_DEATHS 2
inline begin()
{
    begin_live(1, 1)
}

#elif defined(SCENARIO_RESTART)
/* The daemon dies at any step; who waits asks again. */
#define OPS1 2
#define CAN1 WAITS
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
#define DAEMON_DEATHS 1
inline begin()
{
    begin_live(0, 2);
    begin_live(1, 2)
}

#elif defined(SCENARIO_RESTARTS)
/* It dies in recovery, too. */
#define OPS1 1
#define CAN1 WAITS
#define OPS2 1
#define CAN2 (ALLOCATES | FREES)
#define DAEMON_DEATHS 2
inline begin()
{
    begin_live(0, 2);
    if
    :: begin_live(1, 2)
    :: begin_cached(1, 2)
    fi
}

#elif defined(SCENARIO_RESUME)
/* The daemon dies in a request; another thread of the same member goes on with what it guesses. */
#define THREAD_OF(t) ((t) == 3 -> 2 : 1)
#define OPS1 1
#define CAN1 (ASKS | WAITS)
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
#define OPS3 1
#define CAN3 ASKS
#define DAEMON_DEATHS 1
inline begin()
{
    guess[1] = BIT(0) | BIT(1)
}

#elif defined(SCENARIO_LOSS)
/* A connection breaks, with the reply that is on it, and both processes live on. */
#define THREAD_OF(t) ((t) == 3 -> 2 : 1)
#define OPS1 2
#define CAN1 (ASKS | WAITS)
#define OPS2 1
#define CAN2 (ALLOCATES | FREES)
#define OPS3 1
#define CAN3 ASKS
#define LOSSES 1
inline begin()
{
    guess[1] = BIT(0) | BIT(1)
}

#elif defined(SCENARIO_RECOVER)
/* One asks, waits and frees; the other recovers what it freed, and allocates it. */
#define OPS1 2
#define CAN1 (FREES | ASKS | WAITS)
#define OPS2 3
#define CAN2 (RECOVERS | ALLOCATES | FREES)
inline begin()
{
    begin_returned(0, 2);
    if
    :: begin_live(1, 2)
    :: begin_live(1, 1)
    fi
}

#elif defined(SCENARIO_RECOVERERS)
/* One waits; of the other, threads recover in one block, return and free: some of it late. */
#define THREAD_OF(t) ((t) == 1 -> 1 : 2)
#define OPS1 2
#define CAN1 (FREES | WAITS)
#define OPS2 1
#define CAN2 (RECOVERS | ENDS)
#define OPS3 1
#define CAN3 (RECOVERS | ALLOCATES | FREES)
inline begin()
{
    begin_returned(0, 2);
    begin_live(1, 2)
}

#elif defined(SCENARIO_RECOVERER_LATE)
/* One is refused, at once or in time, while a thread of the other's recovers, late. */
#define THREAD_OF(t) ((t) == 1 -> 1 : 2)
#define OPS1 3
#define CAN1 (ASKS | WAITS_SHORTLY)
#define OPS2 1
#define CAN2 RECOVERS
#define OPS3 1
#define CAN3 FREES
inline begin()
{
    begin_returned(0, 2);
    begin_live(1, 2)
}

#elif defined(SCENARIO_RECOVERER_STOPS)
/* The recovering member is stopped at any step, or dies: it keeps one at most. */
#define OPS1 2
#define CAN1 (FREES | WAITS)
#define OPS2 2
#define CAN2 (RECOVERS | ALLOCATES | ENDS)
#define STOPS BIT(2)
#define MEMBER_DEATHS BIT(2)
inline begin()
{
    begin_returned(0, 2);
    begin_live(1, 2)
}

#elif defined(SCENARIO_RECOVER_RESTART)
/* The daemon dies at any step, while the member recovers and another one waits. */
#define OPS1 2
#define CAN1 (FREES | WAITS)
#define OPS2 2
#define CAN2 (RECOVERS | ALLOCATES)
#define DAEMON_DEATHS 1
inline begin()
{
    begin_returned(0, 2);
    begin_live(1, 2)
}

#elif defined(SCENARIO_BIASED)
/* One waits, or is refused; a biased thread of the other's allocates, frees and allocates. */
#define NUMBERED BIT(2)
#define OPS1 2
#define CAN1 (FREES | ASKS | WAITS)
#define OPS2 3
#define CAN2 (ALLOCATES | FREES)
#define THREAD_ROOM 6
inline begin()
{
    begin_cached(0, THREAD_NUMBER(2));
    if
    :: begin_live(1, THREAD_NUMBER(2))
    :: begin_live(1, 1)
    fi
}

#elif defined(SCENARIO_BIASED_FOREIGN)
/* What a biased thread frees, two of the other's free too. */
#define NUMBERED BIT(2)
#define THREAD_OF(t) ((t) == 2 -> 2 : 1)
#define OPS1 1
#define CAN1 FREES
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
#define OPS3 1
#define CAN3 FREES
inline begin()
{
    begin_live(0, THREAD_NUMBER(2))
}

#elif defined(SCENARIO_BIASED_BOTH)
/* Biased threads of two members free what they have, each other's, and what the daemon gave. */
#define NUMBERED (BIT(1) | BIT(2))
#define OPS1 1
#define CAN1 (FREES | WAITS)
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
inline begin()
{
    begin_live(0, THREAD_NUMBER(2));
    if
    :: begin_live(1, THREAD_NUMBER(1))
    :: begin_live(1, 2)
    fi
}

#elif defined(SCENARIO_BIASED_TRANSFER)
/* An object changes hands while a biased thread frees it, and while it and the daemon die. */
#define NUMBERED (BIT(1) | BIT(2))
#define OPS1 1
#define CAN1 FREES
#define OPS2 1
#define CAN2 FREES
#define TRANSFERS 1
#define MEMBER_DEATHS BIT(2)
#define DAEMON_DEATHS 1
inline begin()
{
    begin_live(0, THREAD_NUMBER(2))
}

#elif defined(SCENARIO_BIASED_TRANSFER_WAIT)
/* It is revoked because one object changes hands, while it frees another, and one waits. */
#define NUMBERED BIT(2)
#define OPS1 1
#define CAN1 WAITS
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
#define TRANSFERS 1
inline begin()
{
    begin_live(0, THREAD_NUMBER(2));
    begin_live(1, THREAD_NUMBER(2))
}

#elif defined(SCENARIO_BIASED_SIBLINGS)
/* Two threads of one process, both biased, free each other's; one of the other's waits. */
#define NUMBERED (BIT(2) | BIT(3))
#define OPS1 1
#define CAN1 WAITS
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
#define OPS3 1
#define CAN3 FREES
inline begin()
{
    begin_live(0, THREAD_NUMBER(2));
    begin_live(1, THREAD_NUMBER(3))
}

#elif defined(SCENARIO_BIASED_RESTORED)
/* Slots are granted ahead to a thread that is revoked then, or isn't; the other asks, too. */
#define NUMBERED BIT(3)
#define BIASED 0
#define THREAD_OF(t) ((t) == 1 -> 1 : 2)
#define GRANTEE(m) ((m) == 1 -> 1 : 3)
#define OPS1 2
#define CAN1 (FREES | WAITS)
#define OPS2 1
#define CAN2 ASKS
#define OPS3 2
#define CAN3 (ALLOCATES | FREES)
inline begin()
{
    guess[3] = BIT(0) | BIT(1)
}

#elif defined(SCENARIO_BIASED_DEATH)
/* The biased thread dies at any step, while another waits and frees. */
#define NUMBERED BIT(2)
#define OPS1 2
#define CAN1 (FREES | WAITS)
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
#define MEMBER_DEATHS BIT(2)
inline begin()
{
    begin_cached(0, THREAD_NUMBER(2));
    begin_live(1, THREAD_NUMBER(2))
}

#elif defined(SCENARIO_BIASED_STOP)
/* It is stopped at any step: it keeps what it is in the middle of, at most. */
#define NUMBERED BIT(2)
#define OPS1 2
#define CAN1 (FREES | WAITS | WAITS_SHORTLY)
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
#define STOPS BIT(2)
inline begin()
{
    begin_cached(0, THREAD_NUMBER(2));
    begin_live(1, THREAD_NUMBER(2))
}

#elif defined(SCENARIO_BIASED_RESTART)
/* The daemon dies at any step, and knows nothing of who is biased. */
#define NUMBERED BIT(2)
#define OPS1 1
#define CAN1 WAITS
#define OPS2 2
#define CAN2 (ALLOCATES | FREES)
#define DAEMON_DEATHS 1
inline begin()
{
    begin_cached(0, THREAD_NUMBER(2));
    begin_live(1, THREAD_NUMBER(2))
}

#elif defined(SCENARIO_BIASED_RECOVER)
/* What others freed of a thread's, it or its sibling recovers; one waits. */
#define NUMBERED (BIT(2) | BIT(3))
#define THREAD_OF(t) ((t) == 1 -> 1 : 2)
#define OPS1 2
#define CAN1 (FREES | WAITS)
#define OPS2 2
#define CAN2 (RECOVERS | ALLOCATES)
#define OPS3 1
#define CAN3 RECOVERS
inline begin()
{
    if
    :: begin_returned(0, THREAD_NUMBER(2))
    :: begin_cached(0, THREAD_NUMBER(2))
    fi;
    begin_live(1, THREAD_NUMBER(2))
}

#elif defined(SCENARIO_BIASED_RESTORED_LATE)
/* A slot is granted anew to a thread that is late with its old guess, after the daemon's death. */
#define NUMBERED BIT(3)
#define THREAD_OF(t) ((t) == 1 -> 1 : 2)
#define GRANTEE(m) ((m) == 1 -> 1 : 3)
#define OPS1 1
#define CAN1 WAITS
#define OPS2 1
#define CAN2 ASKS
#define OPS3 1
#define CAN3 ALLOCATES
#define DAEMON_DEATHS 1
inline begin()
{
    if
    :: begin_cached(0, THREAD_NUMBER(3))
    :: begin_cached(1, THREAD_NUMBER(3))
    fi
}

#endif

/* A thread without a number of its own has its process's, and changes words by compare-and-swap. */
#ifndef NUMBERED
#define NUMBERED 0
#define THREAD_ROOM 1
#endif
#ifndef BIASED
#define BIASED NUMBERED
#endif
#ifndef THREAD_ROOM
#define THREAD_ROOM 4
#endif
#ifndef THREAD_OF
#define THREAD_OF(t) ((t) == 1 -> 1 : 2)
#endif
/* The thread of the member that slots are granted ahead to. */
#ifndef GRANTEE
#define GRANTEE(m) (m)
#endif
#ifndef MEMBER_DEATHS
#define MEMBER_DEATHS 0
#endif
#ifndef DAEMON_DEATHS
#define DAEMON_DEATHS 0
#endif
#ifndef TRANSFERS
#define TRANSFERS 0
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
