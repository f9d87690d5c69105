/*
 * consolidate_checksum.c
 *	  The checksum of a process's rows.
 *
 * A row's hash is the sum of its columns' hashes, each mixed with a hash of
 * the column's name.  The checksum is the sum of the rows' hashes, modulo 2^64.
 * So neither the order of rows nor that of columns matters, and a row that occurs
 * twice counts twice.  What is hashed are the values as the target holds
 * them: integers and dates as they are, text as its bytes, everything else by
 * its type's extended hash function, which must stay the same in all versions because
 * of hash partitioning, or by its text, written under ConsolidateChecksumSettings.
 * Values that are equal hash equally, 1.0 and 1.00 too.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "common/settings.h"
#include "consolidate/consolidate.h"

/*
 * Begins a level of settings for reading rows whose checksums are taken: types that
 * are hashed by their text must be written the same in every session, whatever its
 * time zone.  Without such types it changes nothing.  SettingsEnd() ends it.
 */
int
ConsolidateChecksumSettings(const FamilyColumns *columns)
{
	for (int i = 0; i < columns->ncolumns; i++)
		if (columns->column[i].hash_by == HASH_BY_TEXT)
		{
			int			level = SettingsForText();

			SettingsSet("timezone", "UTC");
			return level;
		}
	return SettingsBegin();
}

/* The finaliser of MurmurHash3: every bit of x reaches every bit of the result. */
static inline uint64
mix(uint64 x)
{
	x ^= x >> 33;
	x *= UINT64CONST(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64CONST(0xc4ceb9fe1a85ec53);
	x ^= x >> 33;
	return x;
}

/*
 * Are values of this type, or values in them, OIDs that a dump and restore
 * changes?  Enums are, and types like regclass.
 */
static bool
holds_oids(Oid type)
{
	Oid			base = getBaseType(type);
	Oid			element;
	bool		found = false;

	check_stack_depth();
	switch (base)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGNAMESPACEOID:
		case REGROLEOID:
		case REGCOLLATIONOID:
			return true;
		default:
			break;
	}
	if (OidIsValid(element = get_element_type(base)))
		return holds_oids(element);
	switch (get_typtype(base))
	{
		case TYPTYPE_ENUM:
			return true;
		case TYPTYPE_RANGE:
			return holds_oids(get_range_subtype(base));
		case TYPTYPE_MULTIRANGE:
			return holds_oids(get_multirange_range(base));
		case TYPTYPE_COMPOSITE:
			{
				TupleDesc	desc = lookup_rowtype_tupdesc_copy(base, -1);

				for (int i = 0; i < desc->natts && !found; i++)
					found = !TupleDescAttr(desc, i)->attisdropped &&
						holds_oids(TupleDescAttr(desc, i)->atttypid);
				FreeTupleDesc(desc);
				return found;
			}
		default:
			return false;
	}
}

/*
 * Fills in how values of the column are hashed: cache, name_hash, hash_by, out.  Its
 * name, type and collation are known.
 */
void
ConsolidatePrepareChecksum(FamilyColumn *column)
{
	column->cache = lookup_type_cache(column->type,
									  TYPECACHE_EQ_OPR | TYPECACHE_EQ_OPR_FINFO |
									  TYPECACHE_HASH_EXTENDED_PROC |
									  TYPECACHE_HASH_EXTENDED_PROC_FINFO);
	column->name_hash = hash_bytes_extended((const unsigned char *) column->name,
											strlen(column->name), 0);
	if (holds_oids(column->type))
		column->hash_by = HASH_BY_TEXT;
	else if (column->cache->typbyval)
		column->hash_by = HASH_BY_VALUE;
	else if (column->cache->typlen == -1 && OidIsValid(column->collation) &&
			 !OidIsValid(get_element_type(column->type)))
		column->hash_by = HASH_BY_BYTES;
	else if (OidIsValid(column->cache->hash_extended_proc))
		column->hash_by = HASH_BY_FUNCTION;
	else
		column->hash_by = HASH_BY_TEXT;
	if (column->hash_by == HASH_BY_TEXT)
	{
		Oid			function;
		bool		varlena;

		getTypeOutputInfo(column->type, &function, &varlena);
		fmgr_info_cxt(function, &column->out, CurrentMemoryContext);
	}
}

/* 64 bits of a value that is not null; what is detoasted stays in the current memory context. */
static uint64
hash_value(const FamilyColumn *column, Datum value)
{
	switch (column->hash_by)
	{
		case HASH_BY_VALUE:
			switch (column->cache->typlen)
			{
				case 1:
					return DatumGetChar(value);
				case 2:
					return (uint64) (int64) DatumGetInt16(value);
				case 4:
					return (uint64) (int64) DatumGetInt32(value);
				default:
					return (uint64) DatumGetInt64(value);
			}
		case HASH_BY_BYTES:
			{
				struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);

				return hash_bytes_extended((const unsigned char *) VARDATA_ANY(bytes),
										   VARSIZE_ANY_EXHDR(bytes), 0);
			}
		case HASH_BY_FUNCTION:
			return DatumGetUInt64(FunctionCall2Coll(&column->cache->hash_extended_proc_finfo,
													column->collation, value,
													UInt64GetDatum(0)));
		case HASH_BY_TEXT:
			{
				char	   *text = OutputFunctionCall((FmgrInfo *) &column->out, value);

				return hash_bytes_extended((const unsigned char *) text, strlen(text), 0);
			}
	}
	return 0;					/* keep the compiler quiet */
}

/*
 * The hash of one row, in the order of the family's columns, within
 * ConsolidateChecksumSettings.  The checksum of several rows is the sum of theirs.
 */
uint64
ConsolidateChecksumRow(const FamilyColumns *columns, const Datum *values, const bool *nulls)
{
	uint64		sum = 0;

	for (int i = 0; i < columns->ncolumns; i++)
	{
		const FamilyColumn *column = &columns->column[i];

		if (!nulls[i])
			sum += mix(hash_value(column, values[i]) + column->name_hash);
	}
	return mix(sum + 1);
}

/*
 * 64 bits of a row's key, equal for keys that are equal by the equality of their types,
 * even where their bytes differ.  With exact_key they are the key itself.
 */
uint64
ConsolidateHashKey(const FamilyColumns *columns, const Datum *values)
{
	uint64		sum = 0;

	if (columns->exact_key)
		return hash_value(&columns->column[columns->key[0]], values[columns->key[0]]);
	for (int i = 0; i < columns->nkeys; i++)
	{
		const FamilyColumn *column = &columns->column[columns->key[i]];
		uint64		hash =
		DatumGetUInt64(FunctionCall2Coll(&column->cache->hash_extended_proc_finfo,
										 column->collation, values[columns->key[i]],
										 UInt64GetDatum(0)));

		sum = mix(sum + hash + 1);
	}
	return sum;
}

/* The checksum as consolidate_source has it: 16 hexadecimal digits. */
char *
ConsolidateChecksumText(uint64 checksum)
{
	return psprintf("%016llx", (unsigned long long) checksum);
}
