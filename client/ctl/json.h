/* SPDX-License-Identifier: MIT */
/*
 * JSON for programs, with the names of the public structs. Building never fails: out of memory
 * ends the program.
 */
#ifndef CTL_JSON_H
#define CTL_JSON_H

#include <stdint.h>

#include <jansson.h>

#include <fastalloc/admin.h>

json_t *json_new(void);      /* {} */
json_t *json_new_list(void); /* [] */

/* Takes `value` over. */
void json_set(json_t *object, const char *key, json_t *value);
void json_set_number(json_t *object, const char *key, uint64_t number);

/* What is no UTF-8 in the string stands as \xNN. */
void json_set_string(json_t *object, const char *key, const char *string);

/* Takes `value` over. */
void json_append(json_t *list, json_t *value);

/* Writes a whole document to standard output, in ASCII, and lets go of it. */
void json_write(json_t *document);

/* The same on one line, for one of many. */
void json_write_line(json_t *document);

json_t *pool_to_json(const fastalloc_pool_info_t *info);
json_t *session_to_json(const fastalloc_session_info_t *info);

/* `capacity` is the pool's, for the share that is held. */
json_t *holder_to_json(const fastalloc_holder_info_t *info, uint64_t capacity);
json_t *stats_to_json(const char *pool, uint64_t capacity_max, const fastalloc_stats_t *stats);

#endif
