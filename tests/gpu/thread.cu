/* thread MIB READY-FILE: GPU work is begun by a second thread, which ends; the process stays, with
 * its memory, until it is killed. Drivers that remember the thread's id then hold a stale number. */
#include "known.h"

#include <pthread.h>

static void *work(void *mib)
{
	return known_result((size_t)mib) ? NULL : (void *)1;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	void *wrong;

	if (argc < 3)
		return 2;
	if (pthread_create(&thread, NULL, work, (void *)strtoul(argv[1], NULL, 10)) != 0 ||
	    pthread_join(thread, &wrong) != 0 || wrong)
		return 1;
	announce(argv[2]);
	for (;;)
		pause();
}
