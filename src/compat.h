/*
 * compat.h
 *	  Differences between PostgreSQL 14 and 18, in one place.
 *
 * No other file looks at PG_VERSION_NUM.  Each entry gives older servers the
 * name and meaning that the newest one has.
 */
#ifndef AQUACIS_COMPAT_H
#define AQUACIS_COMPAT_H

#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/tuplesort.h"

#if PG_VERSION_NUM < 140000
#error "aquacis needs PostgreSQL 14 or newer"
#endif

/*
 * 16: functions that the server calls are exported by name; before, modules
 * exported everything, so that an extern function of ours could be called by, or
 * replaced with, one of another library.  A file with SQL functions that does not
 * include this header is noticed: the server does not find them.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record * CppConcat(pg_finfo_,funcname)(void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_,funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = { 1 }; \
	return &my_finfo; \
} \
extern int no_such_variable
#endif

/* 15: a prefix can be reserved, not only warned about */
#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* 15: set-returning functions that fill a tuplestore set themselves up */
#if PG_VERSION_NUM < 150000
static inline void
InitMaterializedSRF(FunctionCallInfo fcinfo, bits32 flags)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;

	if (result == NULL || !IsA(result, ReturnSetInfo) ||
		!(result->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &result->setDesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	result->returnMode = SFRM_Materialize;
	result->setResult = tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0,
											  false, work_mem);
	MemoryContextSwitchTo(old);
}
#endif

/* 15: says in words what a relation is not */
#if PG_VERSION_NUM < 150000
#define errdetail_relkind_not_supported(relkind) \
	errdetail("This operation is not supported for relations of kind \"%c\".", (relkind))
#endif

/* 16: ownership and rights of any object by one function each */
#if PG_VERSION_NUM < 160000
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
static inline bool
object_ownercheck(Oid classid, Oid objectid, Oid roleid)
{
	Assert(classid == RelationRelationId);
	return pg_class_ownercheck(objectid, roleid);
}

static inline AclResult
object_aclcheck(Oid classid, Oid objectid, Oid roleid, AclMode mode)
{
	if (classid == ProcedureRelationId)
		return pg_proc_aclcheck(objectid, roleid, mode);
	Assert(classid == NamespaceRelationId);
	return pg_namespace_aclcheck(objectid, roleid, mode);
}

/* 16: only summarizing indexes, and whether a sorted datum is copied */
#define ExecInsertIndexTuples(rri, slot, estate, update, nodup, conflict, arbiters, summarizing) \
	ExecInsertIndexTuples(rri, slot, estate, update, nodup, conflict, arbiters)
#define tuplesort_getdatum(state, forward, copy, val, isnull, abbrev) \
	tuplesort_getdatum(state, forward, val, isnull, abbrev)
#endif

/*
 * 16: GetConfigOption() finds a setting by its hash.  Before, it searches a sorted array.
 * *place remembers the last position there, so that a repeated look-up is one comparison:
 * the audit looks up three settings per row.  It goes when 15 is no longer supported.
 */
#if PG_VERSION_NUM >= 160000
#define FindConfigOption(name, place) ((void) (place), GetConfigOption(name, true, false))
#else
#include "utils/guc_tables.h"

/* the order in which they are kept */
static inline int
compare_option_names(const char *a, const char *b)
{
	while (*a && (*a == *b || pg_ascii_tolower(*a) == pg_ascii_tolower(*b)))
		a++, b++;
	return pg_ascii_tolower(*a) - pg_ascii_tolower(*b);
}

static inline const char *
FindConfigOption(const char *name, int *place)
{
	struct config_generic **options = get_guc_variables();
	int			n = GetNumConfigOptions();
	int			i = Min(*place, n);

	if (i < n && strcmp(options[i]->name, name) == 0 && options[i]->vartype == PGC_STRING)
		return *((struct config_string *) options[i])->variable;
	if ((i == 0 || compare_option_names(options[i - 1]->name, name) < 0) &&
		(i == n || compare_option_names(options[i]->name, name) > 0))
		return NULL;
	for (i = 0; i < n && compare_option_names(options[i]->name, name) < 0; i++)
		;
	*place = i;
	return GetConfigOption(name, true, false);
}
#endif

/* 16: TRUNCATE triggers on foreign tables */
#define FOREIGN_TABLES_HAVE_TRUNCATE_TRIGGERS (PG_VERSION_NUM >= 160000)

/* 16: the varlena macros moved out of postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 16: RelFileNode became RelFileLocator */
#if PG_VERSION_NUM < 160000
#define RD_LOCATOR rd_node
#define SEQ_LOCATOR node
#else
#define RD_LOCATOR rd_locator
#define SEQ_LOCATOR locator
#endif

/* 17: an index may keep things between insertions (BRIN) and give them back */
#if PG_VERSION_NUM < 170000
#define index_insert_cleanup(index, info) ((void) 0)
#endif
#define INDEX_STATE_IS_CLEANED_UP (PG_VERSION_NUM >= 170000)

/* 17: a lock can be held in a stronger mode */
#if PG_VERSION_NUM < 170000
#define LockHeldByMe(tag, mode, orstronger) LockHeldByMe(tag, mode)
#endif

/* 17: a virtual transaction id names its process by another number */
#if PG_VERSION_NUM < 170000
#include "storage/sinvaladt.h"
#define VirtualTransactionProc(vxid) BackendIdGetProc((vxid).backendId)
#else
#include "storage/procarray.h"
#define VirtualTransactionProc(vxid) ProcNumberGetProc((vxid).procNumber)
#endif

/* 17: the right MAINTAIN */
#ifndef ACL_MAINTAIN
#define ACL_MAINTAIN ACL_NO_RIGHTS
#endif

/* 18: generated columns that are not stored */
#include "catalog/pg_attribute.h"
#ifndef ATTRIBUTE_GENERATED_VIRTUAL
#define ATTRIBUTE_GENERATED_VIRTUAL 'v'
#endif

/* 18: a table column's NOT NULL is a row of pg_constraint */
#define NOT_NULL_IS_CONSTRAINT (PG_VERSION_NUM >= 180000)

/* 18: an index scan can be counted for EXPLAIN */
#if PG_VERSION_NUM >= 180000
#include "access/genam.h"
#define index_beginscan(heap, index, snapshot, nkeys, norderbys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, norderbys)
#endif

#endif							/* AQUACIS_COMPAT_H */
