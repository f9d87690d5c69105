/*
 * scripts/memcheck.h
 *	  What PostgreSQL tells Valgrind about its memory, told to AddressSanitizer.
 *
 * A server built with USE_VALGRIND says of every palloc'd chunk, and of every
 * buffer that is pinned, where it begins and ends.  Taken for
 * <valgrind/memcheck.h> by scripts/check, this file passes that on, so that a
 * byte read beyond a chunk or after pfree() is a report, not only one beyond
 * the block that came from malloc().
 */
#ifndef AQUACIS_MEMCHECK_H
#define AQUACIS_MEMCHECK_H

#include <sanitizer/asan_interface.h>

#define VALGRIND_MAKE_MEM_DEFINED(addr, size)	__asan_unpoison_memory_region((addr), (size))
#define VALGRIND_MAKE_MEM_UNDEFINED(addr, size)	__asan_unpoison_memory_region((addr), (size))
#define VALGRIND_MAKE_MEM_NOACCESS(addr, size)	__asan_poison_memory_region((addr), (size))

/* Freed chunks are poisoned as they are wiped (CLOBBER_FREED_MEMORY). */
#define VALGRIND_CREATE_MEMPOOL(pool, redzones, zeroed)	((void) 0)
#define VALGRIND_DESTROY_MEMPOOL(pool)					((void) 0)
#define VALGRIND_MEMPOOL_ALLOC(pool, addr, size)		__asan_unpoison_memory_region((addr), (size))
#define VALGRIND_MEMPOOL_FREE(pool, addr)				((void) 0)
#define VALGRIND_MEMPOOL_CHANGE(pool, old, addr, size)	__asan_unpoison_memory_region((addr), (size))
#define VALGRIND_MEMPOOL_TRIM(pool, addr, size)			((void) 0)

/* whether memory was written to is not AddressSanitizer's business */
#define VALGRIND_CHECK_MEM_IS_DEFINED(addr, size)		((void) 0)
#define VALGRIND_GET_VBITS(addr, bits, size)			0
#define VALGRIND_COUNT_ERRORS							0
#define VALGRIND_DISABLE_ERROR_REPORTING				((void) 0)
#define VALGRIND_ENABLE_ERROR_REPORTING					((void) 0)
#define VALGRIND_PRINTF(...)							((void) 0)
#define RUNNING_ON_VALGRIND								0

#endif							/* AQUACIS_MEMCHECK_H */
