/* Compares the VMAs of /proc/PID/maps with those that the case expects, in every arena. */

/* Returns the number of the expected VMA of `slot` after number `i`; -1: there is none. */
static int next_vma(int slot, int i)
{
	for (i++; i < (int)(sizeof(vmas) / sizeof(vmas[0])); i++)
		if (vmas[i].mm == slot)
			return i;
	return -1;
}

static int prot_of(const char *flags)
{
	return (flags[0] == 'r' ? PROT_READ : 0) | (flags[1] == 'w' ? PROT_WRITE : 0) |
	       (flags[2] == 'x' ? PROT_EXEC : 0);
}

/* A line of /proc/PID/maps. */
struct line {
	unsigned long start, end;
	char flags[5];
};

/* Reads the next line of an arena; at the end of the file, a line beyond all arenas. */
static struct line next_line(FILE *maps)
{
	struct line line;
	char text[512];

	while (fgets(text, sizeof(text), maps))
		if (sscanf(text, "%lx-%lx %4s", &line.start, &line.end, line.flags) == 3 &&
		    line.start >= BASE)
			return line;
	return (struct line){ .start = -1UL };
}

static int as_expected(const struct line *line, int arena, const struct vma *vma)
{
	return line->start == address(arena, vma->start) && line->end == address(arena, vma->end) &&
	       (vma->prot < 0 || vma->prot == prot_of(line->flags));
}

/* Returns the first arena whose VMAs are not the expected ones; -1: all are. */
static int wrong_arena(FILE *maps, int slot)
{
	struct line line = next_line(maps);

	for (int arena = 0; arena < arenas; arena++) {
		int i = next_vma(slot, -1);

		for (; line.start < address(arena, PAGES); line = next_line(maps)) {
			if (i < 0 || !as_expected(&line, arena, &vmas[i]))
				return arena;
			i = next_vma(slot, i);
		}
		if (i >= 0)
			return arena;
	}
	return -1;
}

static void compare_vmas(void)
{
	for (int slot = 1; slot <= SLOTS; slot++) {
		char path[40];
		FILE *maps;
		int wrong;

		if (!alive[slot] || !with_vmas[slot])
			continue;
		snprintf(path, sizeof(path), "/proc/%d/maps", pids[slot]);
		maps = fopen(path, "r");
		if (!maps)
			skip("%s cannot be read: %s", path, strerror(errno));
		wrong = wrong_arena(maps, slot);
		fclose(maps);
		test(wrong < 0 ? GOOD : BAD, "process %d has the expected VMAs", slot);
		if (wrong >= 0) {
			totals();
			say("VERDICT: BUG process %d has other VMAs than the case expects", slot);
			end(FAIL);
		}
	}
}
