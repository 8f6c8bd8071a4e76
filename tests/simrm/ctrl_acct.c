#include <stdlib.h>
#include "tests/simrm/control.h"
void acct_device_allocated(struct driver *driver, struct client *client, int gpu){(void)driver;(void)client;(void)gpu;}
void acct_device_freed(struct driver *driver, struct client *client, int gpu){(void)driver;(void)client;(void)gpu;}
void acct_channel_allocated(struct driver *driver, struct client *client, int gpu){(void)driver;(void)client;(void)gpu;}
void acct_memory_allocated(struct driver *driver, struct client *client, int gpu){(void)driver;(void)client;(void)gpu;}
void acct_clear(struct acct_list *list){(void)list;}
