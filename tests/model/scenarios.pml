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

#endif

#ifndef THREAD_OF
#define THREAD_OF(t) ((t) == 1 -> 1 : 2)
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
