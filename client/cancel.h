/* SPDX-License-Identifier: MIT */
/*
 * No function of the library is a cancellation point: a thread that is cancelled while it holds a
 * lock, or reads for others, would stop them all.
 */
#ifndef CLIENT_CANCEL_H
#define CLIENT_CANCEL_H

#include <pthread.h>

static inline int cancel_disable(void)
{
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    return state;
}

static inline void cancel_restore(const int *state)
{
    int ignored;
    pthread_setcancelstate(*state, &ignored);
}

/* From here to the end of the block the thread can't be cancelled. */
#define CANCEL_DISABLED                                                                            \
    __attribute__((cleanup(cancel_restore), unused)) const int cancel_state = cancel_disable()

#endif
