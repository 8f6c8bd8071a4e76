#ifndef SUPERVISOR_MPUCTL_PS_PROXIES_H
#define SUPERVISOR_MPUCTL_PS_PROXIES_H

#include "supervisor/call.h"

#include <json-c/json.h>

/* Fills PROXIED, to be freed, with what mpud's STATUS (or NULL) tells of and what processes are
 * called. */
void ps_find_proxies(struct json_object *status, struct proxied *proxied);
void ps_free_proxies(struct proxied *proxied);
#define cleanup_proxied __attribute__((cleanup(ps_free_proxies)))

/* The process for which one whose command line is TITLE stands, or 0. */
pid_t ps_proxy_target(const char *title);

#endif
