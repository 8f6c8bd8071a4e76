/* Log lines in logfmt on stderr: level=warning msg="..." pid=12 cmd=0x2080018d */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* May be added to a level: of such lines the program itself sees to it that there are few, and all are
 * written. */
enum { LOG_FEW = 1 << 8 };

/* Lines above LEVEL are dropped; LOG_LEVEL_WARNING until it is set. */
void log_set_level(enum log_level level);

/* Writes one line with one write(2), so that lines of several threads do not mix. MESSAGE becomes
 * msg="..."; FIELDS is a printf format of further key=value pairs, or "" for none. Of warnings and errors
 * from one place in the program at most 10 a second are written; the next one that is written tells how
 * many were not. */
void log_line(unsigned int level, const char *message, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(...)	 log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
