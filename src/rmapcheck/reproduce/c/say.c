/* Output: plain lines, or TAP with the same lines as comments. */

enum { PASS = 0, FAIL = 1, USAGE = 2, SKIPPED = 4 };

static int tests, failed, skipped;
static void end(int code) __attribute__((noreturn));
static void skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs(TAP ? "# " : "", stdout);
	vprintf(format, arguments);
	putchar('\n');
	va_end(arguments);
}

/* The number of tests: the operations, each page that must be unmapped, and all contents. */
static int planned(void)
{
	int count = 2;

	for (int mm = 1; mm <= SLOTS; mm++)
		for (int page = 0; page < PAGES; page++)
			count += alive[mm] && (after[mm][page].holds == ANON ||
					       after[mm][page].holds == OF_FILE);
	return count;
}

static void begin(void)
{
	struct utsname name;

	uname(&name);
	if (TAP)
		printf("TAP version 13\n1..%d\n", planned());
	say("case: %s", TITLE);
	say("scheme: %s", SCHEME);
	say("kernel: %s %s %s", name.sysname, name.release, name.machine);
	say("arenas: %d", arenas);
}

enum result { GOOD, BAD, UNSURE };

static void test(enum result result, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void test(enum result result, const char *format, ...)
{
	va_list arguments;

	tests++;
	failed += result == BAD;
	skipped += result == UNSURE;
	if (!TAP)
		return;
	va_start(arguments, format);
	printf("%s %d ", result == BAD ? "not ok" : "ok", tests);
	vprintf(format, arguments);
	puts(result == UNSURE ? " # SKIP it cannot be said" : "");
	va_end(arguments);
}

static void totals(void)
{
	if (TAP)
		printf("# Totals: pass:%d fail:%d xfail:0 xpass:0 skip:%d error:0\n",
		       tests - failed - skipped, failed, skipped);
}

/* Skips all tests that have not run yet, and ends the program. */
static void skip(const char *format, ...)
{
	va_list arguments;
	char reason[300];

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	for (; tests < planned(); skipped++) {
		tests++;
		if (TAP)
			printf("ok %d # SKIP %s\n", tests, reason);
	}
	totals();
	say("VERDICT: SKIP %s", reason);
	end(SKIPPED);
}
