/* SPDX-License-Identifier: MIT */
#include "must.h"

#include <stdio.h>
#include <stdlib.h>

void *must(void *pointer)
{
    if (!pointer) {
        fputs("fastallocctl: out of memory\n", stderr);
        exit(1);
    }
    return pointer;
}
