/* An error is made once, where the fact is known, and passed up. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/* What went wrong: an errno value and one line that names the thing, the cause and the cure.
 * Storage is the caller's; code 0 means no error. */
struct mpu_error {
	int code;
	char text[512];
};

/* Fills ERROR (which may be NULL) with CODE, a positive errno value, and the formatted line.
 * Returns -CODE, so that a function can end with `return mpu_fail(...)`. The first error stays:
 * one that is already set is not overwritten. */
int mpu_fail(struct mpu_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
