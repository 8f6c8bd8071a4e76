#ifndef TESTS_GPU_SUPERVISED_THREAD_H
#define TESTS_GPU_SUPERVISED_THREAD_H

#ifdef __cplusplus
extern "C" {
#endif

/* Puts the calling thread, for good, under the filter NAME (filter_kind_name()), and its listener into
 * the hands of the mpud at SOCKET; or, where NAME is `agent`, under mpu's filter and a loop in this
 * process that lets all calls pass. Returns 0, or -1 after a line on standard error. */
int supervise_this_thread(const char *name, const char *socket);

#ifdef __cplusplus
}
#endif

#endif
