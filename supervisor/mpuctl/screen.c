#include "supervisor/mpuctl/ps.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

enum { NARROW = 80, ROWS = 24 };

static struct termios before;
static bool has_keys;
static int signals = -1;

static void find_size(unsigned int *columns, unsigned int *rows)
{
	const char *named = getenv("COLUMNS");
	struct winsize size;

	*columns = NARROW;
	*rows = ROWS;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col) {
		*columns = size.ws_col;
		*rows = size.ws_row ? size.ws_row : ROWS;
	} else if (named && atoi(named) > 0) {
		*columns = (unsigned int)atoi(named);
	}
}

struct ps_style screen_style(void)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	struct ps_style style = {.colours = isatty(STDOUT_FILENO) && !(no_color && *no_color) &&
					    term && *term && strcmp(term, "dumb") != 0};
	unsigned int rows;

	find_size(&style.columns, &rows);
	if (style.columns < NARROW)
		style.columns = NARROW;
	return style;
}

static void take_keys(void)
{
	struct termios raw;

	has_keys = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &before);
	if (!has_keys)
		return;
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	has_keys = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

int screen_enter(struct mpu_error *error)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
	const char *term = getenv("TERM");
	sigset_t set;

	if (!isatty(STDOUT_FILENO) || !term || !*term || strcmp(term, "dumb") == 0)
		return mpu_fail(
		    error, ENOTTY,
		    "--watch draws on a terminal, and standard output is none (leave it "
		    "out, or ask for --json)");
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		sigaddset(&set, ending[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return mpu_fail(error, errno, "cannot wait for signals: %s", strerror(errno));
	take_keys();
	/* The other screen, and no cursor. */
	fputs("\033[?1049h\033[?25l", stdout);
	fflush(stdout);
	return 0;
}

void screen_leave(void)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	if (has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

void screen_draw(const char *text)
{
	unsigned int columns, rows;

	find_size(&columns, &rows);
	fputs("\033[H", stdout);
	for (unsigned int row = 1; row <= rows && *text; row++) {
		size_t line = strcspn(text, "\n");

		/* The last line has no newline: it would scroll. */
		printf("%.*s\033[K%s", (int)line, text, row < rows ? "\r\n" : "");
		text += line + (text[line] == '\n');
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

static bool is_time_to_go(const struct pollfd *ready)
{
	struct signalfd_siginfo info;
	char key;

	while (ready[0].revents && read(signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo != SIGWINCH)
			return true;
	return ready[1].revents && (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q');
}

bool screen_wait(unsigned int seconds)
{
	struct pollfd ready[] = {{.fd = signals, .events = POLLIN},
				 {.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN}};

	return poll(ready, 2, (int)seconds * 1000) <= 0 || !is_time_to_go(ready);
}
