/* SPDX-License-Identifier: MIT */
/* The numbers in the texts of policies. */
#ifndef DAEMON_DECIMAL_H
#define DAEMON_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Takes the digits that the text begins with, without leading zeros, so that a text has a greatest
 * length; the text then begins behind them. False, and nothing changed, if there is no such number.
 */
bool decimal_take(const char **text, uint32_t *number);

#endif
