/* SPDX-License-Identifier: MIT */
/*
 * An event for people, and for programs.
 */
#ifndef CTL_EVENT_TEXT_H
#define CTL_EVENT_TEXT_H

#include <jansson.h>

#include <fastalloc/admin.h>

#define EVENT_TEXT_SIZE 192
#define EVENT_DATE_SIZE 40

/* What happened, in words. */
const char *event_text(const fastalloc_event_t *event, char buffer[EVENT_TEXT_SIZE]);

/*
 * When it happened by the calendar, if the clocks show `monotonic` and `real` ns now: local time
 * for people, or UTC as ISO 8601.
 */
const char *event_date(const fastalloc_event_t *event, uint64_t monotonic, uint64_t real,
                       char buffer[EVENT_DATE_SIZE]);
const char *event_date_utc(const fastalloc_event_t *event, uint64_t monotonic, uint64_t real,
                           char buffer[EVENT_DATE_SIZE]);

json_t *event_to_json(const fastalloc_event_t *event, const char *date);

#endif
