/* SPDX-License-Identifier: MIT */
/*
 * An instance: where it lives, and the lock that makes it the only one of its socket. Its private
 * folder is called after the socket; with --socket, the instance's name is for people only.
 *
 *   SOCKET.sock       the socket that clients connect to (or SOCKET, without the suffix)
 *   SOCKET.d/         private to the daemon's user (0700)
 *   SOCKET.d/lock     held with flock while the instance runs; says its pid
 *   SOCKET.d/registry what it owns (daemon/registry.h)
 */
#ifndef DAEMON_INSTANCE_H
#define DAEMON_INSTANCE_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/options.h"

#define INSTANCE_TEXT_SIZE 1024
#define INSTANCE_PATH_SIZE 256 /* a Unix socket takes 107 bytes, and all stands beside it */

struct instance {
    char name[64];
    char base[128]; /* the folder that all of it stands in */
    char socket[INSTANCE_PATH_SIZE];
    char directory[INSTANCE_PATH_SIZE]; /* private */
    char registry[INSTANCE_PATH_SIZE];
    char lock[INSTANCE_PATH_SIZE];
    bool shared; /* the system's instance, which every user may connect to */
    int lock_fd;
};

/*
 * Says where the instance that the options mean lives. Nothing is touched. False with one line why
 * not: a socket path that is too long for a Unix socket, no XDG_RUNTIME_DIR, a name that can't be
 * one.
 */
bool instance_locate(struct instance *instance, const struct options *options,
                     char text[INSTANCE_TEXT_SIZE]);

/*
 * Makes the folders and takes the lock. False with one line why not, for example which pid has it.
 * The lock ends with the process, by whatever way.
 */
bool instance_lock(struct instance *instance, char text[INSTANCE_TEXT_SIZE]);

/*
 * The same, but makes nothing: of an instance that was there. False, too, if there is nothing of it.
 */
bool instance_lock_remains(struct instance *instance, char text[INSTANCE_TEXT_SIZE]);

/* Gives the lock back; with `remove`, nothing of the private folder is left. */
void instance_unlock(struct instance *instance, bool remove);

#endif
