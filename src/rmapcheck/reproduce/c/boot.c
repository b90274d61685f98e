/* As PID 1: mount file systems, load modules, and swap to a blank disk or RAM disk. */

static void make_swap(int fd, uint64_t bytes)
{
	char head[4096] = { 0 };
	uint32_t version = 1, last = (uint32_t)(bytes / PAGE - 1);

	memcpy(head + 1024, &version, sizeof(version));
	memcpy(head + 1028, &last, sizeof(last));
	memcpy(head + 4086, "SWAPSPACE2", 10);
	if (pwrite(fd, head, sizeof(head), 0) == sizeof(head))
		fsync(fd);
}

/* Only a disk whose first page is all zeros is made a swap disk. */
static int swap_on(const char *device)
{
	static const char zeros[4096];
	char head[4096];
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, head, sizeof(head), 0) == sizeof(head) && !memcmp(head, zeros, sizeof(head)))
		make_swap(fd, (uint64_t)lseek(fd, 0, SEEK_END));
	close(fd);
	return swapon(device, 0) == 0;
}

static void load_modules(void)
{
	char path[30];

	for (int i = 0; i < 100; i++) {
		int fd;

		snprintf(path, sizeof(path), "/modules/%02d.ko", i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			break;
		if (syscall(SYS_finit_module, fd, "", 0))
			say("%s: %s", path, strerror(errno));
		close(fd);
	}
}

static void mount_cgroup(void)
{
	static const char root[] = "/sys/fs/cgroup";
	char list[200] = "";
	int fd;

	mount("cgroup2", root, "cgroup2", 0, NULL);
	fd = open("/sys/fs/cgroup/cgroup.controllers", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (read(fd, list, sizeof(list) - 1) < 0)
			list[0] = 0;
		close(fd);
	}
	if (!has_word(list, "memory")) {
		umount(root);
		mount("cgroup", root, "cgroup", 0, "memory");
	}
}

static void boot(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount_cgroup();
	load_modules();
	put("/proc/sys/vm/page-cluster", "0");
	put("/sys/block/zram0/disksize", "64M");
	if (!swap_on("/dev/ubda") && !swap_on("/dev/vda") && !swap_on("/dev/zram0"))
		say("neither /dev/ubda nor /dev/vda nor /dev/zram0 can be swapped to");
}
