/* Finds out from /proc/PID/pagemap what is mapped, and reclaims everything. */

#define PRESENT (1ULL << 63)
#define SWAPPED (1ULL << 62)
#define ALONE (1ULL << 56)	/* no other entry maps the page (Linux 4.2) */

static int pagemap_of(int slot)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pids[slot]);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static uint64_t entry_at(int pagemap, unsigned long at)
{
	uint64_t entry = 0;

	if (pread(pagemap, &entry, sizeof(entry), at / PAGE * 8) != sizeof(entry))
		skip("pagemap cannot be read");
	return entry;
}

/* Returns in how many arenas the entry of a page has a bit of `any`, and all bits of `all`. */
static int count(int slot, int page, uint64_t any, uint64_t all)
{
	int pagemap = pagemap_of(slot), counted = 0;

	for (int arena = 0; arena < arenas; arena++) {
		uint64_t entry = entry_at(pagemap, address(arena, page));

		counted += (entry & any) != 0 && (entry & all) == all;
	}
	close(pagemap);
	return counted;
}

static int controls_present(int slot)
{
	int pagemap = pagemap_of(slot), counted = 0;

	for (int i = 0; i < arenas; i++)
		counted += (entry_at(pagemap, control(2 * i)) & SWAPPED) == 0;
	close(pagemap);
	return counted;
}

/* Returns how many pages of all slots are still mapped. */
static int still_mapped(void)
{
	int counted = 0;

	for (int slot = 1; slot <= SLOTS; slot++)
		for (int page = 0; pids[slot] && page < PAGES; page++)
			counted += count(slot, page, PRESENT, 0);
	return counted;
}

/* Reclaim keeps recently used pages: clear the accessed bits, and with them the TLB entries. */
static void forget_use(void)
{
	char path[40];

	for (int slot = 1; slot <= SLOTS; slot++) {
		snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)pids[slot]);
		if (pids[slot])
			put(path, "1");
	}
}

static void reclaim_once(void)
{
	forget_use();
	if (group[0]) {
		put(group_knob, group_order);
		return;
	}
	for (int slot = 1; slot <= SLOTS; slot++)
		if (pids[slot] && ask(slot, PAGEOUT).result)
			skip("there is no MADV_PAGEOUT (Linux 5.4)");
}

/*
 * Pages that were just used, or are being written to swap, need a second or third pass. Reclaim
 * ends when `PATIENCE` passes in a row, with longer and longer pauses between them, have unmapped
 * nothing more. Once nothing is mapped, two more passes free the written pages in the swap cache.
 */
enum { PATIENCE = 15, AFTERWARDS = 2 };

static void reclaim(void)
{
	int before = -1, unchanged = 0;

	for (int pass = 0; pass < 60; pass++) {
		int now;

		if (stop)
			skip("interrupted, or too slow");
		reclaim_once();
		now = still_mapped();
		unchanged = now == before ? unchanged + 1 : 0;
		before = now;
		if (unchanged >= (now ? PATIENCE : AFTERWARDS))
			break;
		usleep(2000 + 8000 * unchanged);
	}
}
