/* The table, row by row as they are measured, and the same as JSON. */
#include "bench.h"

#include "base/cleanup.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

const struct row row_empty = {
    .unit = "us", .median = NAN, .p99 = NAN, .ratio = NAN, .p99_ratio = NAN};

static struct json_object *rows;
static char section[16];

static void cell(double value, int width)
{
	if (isnan(value))
		printf("%*s", width, "");
	else
		printf("%*.*f", width, value < 10 ? 3 : value < 1000 ? 2 : 0, value);
}

void report_section(const char *name, const char *format, ...)
{
	char title[160];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(title, sizeof(title), format, arguments);
	va_end(arguments);
	snprintf(section, sizeof(section), "%s", name);
	printf("\n%-51s %10s %10s %5s %8s  %s\n", title, "median", "p99", "unit", "ratio", "to");
}

static double judged(const struct row *row)
{
	return row->bar_of == BAR_RATIO	      ? row->ratio
	       : row->bar_of == BAR_P99_RATIO ? row->p99_ratio
	       : row->bar_of == BAR_MEDIAN    ? row->median
					      : NAN;
}

static void print_bar(const struct row *row)
{
	static const char *const what[] = {
	    [BAR_RATIO] = "", [BAR_MEDIAN] = "", [BAR_P99_RATIO] = "p99 ratio "};

	if (row->bar_of == BAR_NONE)
		return;
	printf("  [%s", what[row->bar_of]);
	if (row->bar_of == BAR_P99_RATIO)
		printf("%.2f, ", row->p99_ratio);
	printf("bar %g: %s]", row->bar, judged(row) <= row->bar ? "met" : "NOT MET");
}

static void add_number(struct json_object *object, const char *name, double value)
{
	if (!isnan(value))
		json_object_object_add(object, name, json_object_new_double(value));
}

static void keep(const struct row *row)
{
	struct json_object *object = json_object_new_object();

	if (!rows)
		rows = json_object_new_array();
	json_object_object_add(object, "section", json_object_new_string(section));
	json_object_object_add(object, "name", json_object_new_string(row->name));
	json_object_object_add(object, "unit", json_object_new_string(row->unit));
	add_number(object, "median", row->median);
	add_number(object, "p99", row->p99);
	add_number(object, "ratio", row->ratio);
	add_number(object, "p99_ratio", row->p99_ratio);
	if (row->to)
		json_object_object_add(object, "to", json_object_new_string(row->to));
	if (row->bar_of != BAR_NONE) {
		add_number(object, "bar", row->bar);
		json_object_object_add(object, "met",
				       json_object_new_boolean(judged(row) <= row->bar));
	}
	json_object_array_add(rows, object);
}

void report_row(const struct row *row)
{
	printf("%-50s ", row->name);
	cell(row->median, 11);
	cell(row->p99, 11);
	printf(" %5s ", row->unit);
	cell(row->ratio, 8);
	printf("  %s", row->to ? row->to : "");
	print_bar(row);
	printf("\n");
	keep(row);
}

struct row report_contender(const struct contender *contender, const struct contender *to,
			    const char *to_name, const struct contender *plus)
{
	struct row row = row_empty;

	row.name = contender->name;
	row.median = contender_median(contender) / 1000;
	row.p99 = (double)histogram_quantile(&contender->histogram, 0.99) / 1000;
	if (!to)
		return row;
	row.ratio = contender_ratio(contender, to, plus);
	row.to = to_name;
	if (!plus)
		row.p99_ratio = row.p99 * 1000 / (double)histogram_quantile(&to->histogram, 0.99);
	return row;
}

void report_json(const char *path)
{
	struct json_object *all = json_object_new_object();
	struct mpu_error error = {0};
	struct utsname system;
	char now[32];
	time_t seconds = time(NULL);
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		bench_die("%s: %s", path, strerror(errno));
	uname(&system);
	strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime(&seconds));
	json_object_object_add(all, "mpu", json_object_new_string(MPU_VERSION));
	json_object_object_add(all, "time", json_object_new_string(now));
	json_object_object_add(all, "kernel", json_object_new_string(system.release));
	json_object_object_add(all, "machine", json_object_new_string(system.machine));
	json_object_object_add(all, "cpus", json_object_new_int64(sysconf(_SC_NPROCESSORS_ONLN)));
	json_object_object_add(all, "quick", json_object_new_boolean(bench_options.quick));
	json_object_object_add(all, "rows", rows);
	if (json_write(fd, all, &error))
		bench_die("%s: %s", path, error.text);
	json_object_put(all);
}
