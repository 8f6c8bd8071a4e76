/* The parts of mpuctl ps: asking (ps.c), the table (ps-print.c), the terminal (screen.c). */
#ifndef SUPERVISOR_MPUCTL_PS_H
#define SUPERVISOR_MPUCTL_PS_H

#include "base/error.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

/* How to print. */
struct ps_style {
	unsigned int columns; /* at least 80 */
	bool colours;
};

/* Prints ANSWER, the object that --json gives, as a table. */
void ps_print(FILE *out, struct json_object *answer, const struct ps_style *style);

/* The style that standard output takes: its width, or COLUMNS, and colours on a terminal where
 * NO_COLOR does not forbid them. */
struct ps_style screen_style(void);

/* Takes the terminal over for a picture that is drawn again and again, until screen_leave();
 * signals that would end this process are kept for screen_wait(). Returns 0, or -errno with ERROR
 * filled where standard output is no terminal. */
int screen_enter(struct mpu_error *error);
void screen_leave(void);

/* Draws TEXT, what of it fits. */
void screen_draw(const char *text);

/* Waits for SECONDS, or until the terminal's size changes. Returns false when it is time to go: a
 * signal has come, or the key q. */
bool screen_wait(unsigned int seconds);

#endif
