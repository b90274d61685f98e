/* The two hashes of a key: its place in the table, and the fingerprint that may replace it. */

static ALWAYS uint64_t fold(uint64_t a, uint64_t b)
{
  __uint128_t p = (__uint128_t)a * b;
  return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static ALWAYS uint64_t eight(const unsigned char *b)
{
  uint64_t w;
  memcpy(&w, b, 8);
  return w;
}

/* One multiplication for sixteen bytes, none of which waits for another. The last sixteen bytes may
   overlap the ones before. Two keys with the same hash are distinguished by comparing them. */
static inline uint64_t hash(const unsigned char *b, int n)
{
  uint64_t h = n, a = 0x9e3779b97f4a7c15u, c = 0xe7037ed1a0b428dbu;
  unsigned char few[16] = {0};
  if (n < 16) b = memcpy(few, b, n), n = 16;
  const unsigned char *last = b + n - 16;
  for (; b < last; b += 16, a += 0xd6e8feb86659fd92u, c += 0x8ebc6af09c88c6e2u)
    h += fold(eight(b) ^ a, eight(b + 8) ^ c);
  h += fold(eight(last) ^ a, eight(last + 8) ^ c);
  return fold(h ^ 0xa0761d6478bd642fu, 0xd6e8feb86659fd93u);
}

/* What identifies a state after its key is dropped. Unlike with hash(), two keys that differ in one
   word only never have the same fingerprint, because each step here is invertible. */
static uint64_t fingerprint(const unsigned char *b, int n)
{
  uint64_t h = 0x9e3779b97f4a7c15u ^ n, w;
  for (; n > 0; b += 8, n -= 8) {
    w = 0;
    memcpy(&w, b, n < 8 ? n : 8);
    h = (h ^ w) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 32) * 0xc4ceb9fe1a85ec53u;
    h ^= h >> 29;
  }
#ifdef FAULT_SHORT_PRINT
  return (h ^ h >> 31) << 56;
#endif
  return h ^ h >> 31;
}
