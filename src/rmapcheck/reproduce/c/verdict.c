/* Runs the steps, compares the state with the model, reclaims, and prints the verdict. */

static void clean_up(void)
{
	for (int slot = 1; slot <= SLOTS; slot++)
		if (pids[slot]) {
			kill(pids[slot], SIGKILL);
			wait_end(slot);
		}
	for (int i = 0; group[0] && rmdir(group) && errno == EBUSY && i < 200; i++)
		usleep(10000);
}

static void end(int code)
{
	clean_up();
	fflush(stdout);
	if (getpid() == 1) {
		sync();
		reboot(RB_POWER_OFF);
	}
	exit(code);
}

static int step(int number)
{
	const struct op *op = &ops[number];
	struct answer answer;

	if (op->what == RECLAIM) {
		if (!group[0])
			skip("step %d wants shared pages reclaimed, and there is no memory cgroup",
			     number + 1);
		reclaim();
		return 0;
	}
	if (op->what == EXIT) {
		if (write(commands[op->mm][1], &number, sizeof(number)) != sizeof(number) ||
		    !wait_end(op->mm))
			skip("process %d does not end", op->mm);
		return 0;
	}
	answer = ask(op->mm, number);
	if (op->what == FORK && answer.result == 0)
		settle(op->child, answer.pid);
	if (answer.result != op->result)
		say("in arena %d:", answer.arena);
	return answer.result;
}

static void run_steps(void)
{
	for (int number = 0; number < (int)(sizeof(ops) / sizeof(ops[0])); number++) {
		int result = step(number);

		say("step %d: %s: %d", number + 1, ops[number].text, result);
		if (result != ops[number].result && ops[number].expected) {
			test(BAD, "step %d returns what the case expects", number + 1);
			totals();
			say("VERDICT: BUG step %d returns %d, and the case expects %d", number + 1,
			    result, ops[number].result);
			end(FAIL);
		}
		if (result != ops[number].result)
			skip("step %d returns %d here, and %d in the model", number + 1, result,
			     ops[number].result);
	}
	test(GOOD, "every operation returns what it must");
}

/* Before the reclaim, pages must be where the model has them; otherwise this kernel differs. */
static void compare_with_model(void)
{
	for (int slot = 1; slot <= SLOTS; slot++)
		for (int page = 0; alive[slot] && page < PAGES; page++) {
			enum holds holds = after[slot][page].holds;
			int there = count(slot, page, PRESENT | SWAPPED, 0);
			int wanted = holds == ANON || holds == OF_FILE ? arenas : 0;

			if (holds != ZERO && holds != ANY && there != wanted)
				skip("process %d has page %d in %d of %d arenas, "
				     "in the model in %s", slot, page, there, arenas,
				     wanted ? "all" : "none");
		}
}

/* Reclaim does not unmap locked pages; from here on, every page must be unmapped. */
static void unlock_all(void)
{
	for (int slot = 1; slot <= SLOTS; slot++)
		if (alive[slot] && ask(slot, UNLOCK).result)
			skip("munlockall fails in process %d", slot);
}

/* Control pages, which were never shared. If they stay mapped, the others prove nothing. */
static void map_controls(void)
{
	for (int slot = 1; slot <= SLOTS; slot++)
		if (alive[slot])
			ask(slot, CONTROL);
}

static void reclaim_all(void)
{
	reclaim();
	for (int slot = 1; slot <= SLOTS; slot++)
		if (alive[slot] && controls_present(slot))
			skip("%d of %d unshared pages of process %d were not reclaimed either",
			     controls_present(slot), arenas, slot);
}

static void check_contents(void)
{
	int wrong = 0;

	for (int slot = 1; slot <= SLOTS; slot++) {
		struct answer answer = { 0 };

		if (alive[slot])
			answer = ask(slot, CONTENTS);
		if (answer.result)
			say("contents: process %d page %d in arena %d: not what was written",
			    slot, answer.result - 1, answer.arena);
		wrong += answer.result != 0;
	}
	test(wrong ? BAD : GOOD, "every page holds what was written to it");
}

/* Without a cgroup, only pages with a single mapping count: MADV_PAGEOUT skips the others. */
static uint64_t asked(void)
{
	return group[0] ? PRESENT : PRESENT | ALONE;
}

struct seen {
	int lost;		/* pages mapped in at least half of the arenas */
	int few;		/* pages mapped in less than half of them */
	int not_asked;
	int unpredicted;	/* pages for which the model predicts the opposite */
};

static void report_page(int slot, int page, struct seen *seen)
{
	const struct cell *cell = &after[slot][page];
	int present = count(slot, page, PRESENT, asked());
	int stays = 2 * present >= arenas, hidden = count(slot, page, PRESENT, 0) > present;

	say("mapped: process %d page %d: %d of %d%s", slot, page, present, arenas,
	    cell->stays ? " (in the model it stays mapped)" : "");
	seen->lost += stays;
	seen->few += present && !stays;
	seen->not_asked += hidden;
	seen->unpredicted += stays != cell->stays;
	test(stays ? BAD : present || hidden ? UNSURE : GOOD,
	     "page %d of process %d is unmapped by reclaim", page, slot);
}

static void report(void)
{
	struct seen seen = { 0 };

	for (int slot = 1; slot <= SLOTS; slot++)
		for (int page = 0; alive[slot] && page < PAGES; page++)
			if (after[slot][page].holds == ANON || after[slot][page].holds == OF_FILE)
				report_page(slot, page, &seen);
	check_contents();
	if (!failed && seen.few)
		skip("some pages stayed mapped, but in less than half of the arenas");
	if (!failed && seen.not_asked)
		skip("MADV_PAGEOUT leaves pages alone that several processes map");
	totals();
	if (seen.lost)
		say("VERDICT: BUG %d page%s stayed mapped, %s", seen.lost, seen.lost > 1 ? "s" : "",
		    seen.unpredicted ? "and not just those of the model" :
				       "just those of the model");
	else if (failed)
		say("VERDICT: BUG a page does not hold what was written to it");
	else
		say("VERDICT: OK");
	end(failed ? FAIL : PASS);
}
